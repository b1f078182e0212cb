"""What the commands need of a client: `client.Client`, or a fake of it in tests."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from client.errors import ClientError
from protocol.receipts import ReceiptBody
from protocol.requests4 import Policy
from protocol.responses4 import Entry

Progress = Callable[[int, int | None], None]
"""Told of the bytes that are done with, and of how many there are, where that is known."""


class SignedReceipt(Protocol):
    """A receipt that was verified when it came."""

    @property
    def body(self) -> ReceiptBody:
        """What the server promises."""


class Myself(Protocol):
    """Who this client is at the server."""

    @property
    def name(self) -> str: ...

    @property
    def client_id(self) -> bytes: ...

    @property
    def server(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


class PutResult(Protocol):
    """How one file of many ended: with a receipt or with an error."""

    @property
    def name(self) -> str: ...

    @property
    def receipt(self) -> SignedReceipt | None: ...

    @property
    def error(self) -> ClientError | None: ...


class Remote(Protocol):
    """A server that takes files; see `client.Client` for what each method does and raises."""

    def register(self, name: str, token: str = "") -> bytes: ...

    def whoami(self) -> Myself: ...

    def put_many(
        self,
        files: Iterable[tuple[Path, str]],
        *,
        policy: Policy = Policy.ALWAYS,
        on_file: Callable[[PutResult], None],
        progress: Progress | None = None,
    ) -> None: ...

    def put(
        self,
        local: Path | BinaryIO,
        name: str,
        *,
        policy: Policy = Policy.ALWAYS,
        progress: Progress | None = None,
        modified: int | None = None,
        mode: int | None = None,
    ) -> SignedReceipt: ...

    def get(
        self, name: str, local: Path, *, progress: Progress | None = None, size: int | None = None
    ) -> Entry: ...

    def read(self, name: str) -> Iterator[bytes]: ...

    def list(self, prefix: str = "") -> Iterator[Entry]: ...

    def stat(self, name: str) -> Entry: ...

    def remove(self, name: str) -> None: ...

    def rename(self, old: str, new: str, *, replace: bool = False) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

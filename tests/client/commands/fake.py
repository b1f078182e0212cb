"""A server in memory, and `client.Client` for it."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from client.api import WhoAmI
from client.commands.remote import Progress, PutResult, Remote
from client.commands.running import run
from client.errors import ClientError, Exists, FileFailed, FileUnusable, NotFound, NotRegistered
from client.posting import PutResult as RealPutResult
from client.receipts import Receipt
from client.state import writing
from protocol.messages4 import Entry, Policy
from protocol.receipts import ReceiptBody

CLIENT_ID = bytes(range(16))
FINGERPRINT = "SHA256:" + "A" * 43
SERVER = "127.0.0.1:1234"


@dataclass
class FakeServer:
    """`contents` and `entries` by name; `refusals` are raised for a name that is sent or got."""

    contents: dict[str, bytes] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    refusals: dict[str, BaseException] = field(default_factory=dict)
    me: str | None = "alice"
    token: str = ""
    calls: list[str] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)

    def connect(self, server: str, **options: Any) -> Remote:  # noqa: ANN401 - as Client
        """Stands in for `client.Client`."""
        self.servers.append(server)
        self.options.append(options)
        return FakeClient(self)

    def run(self, *argv: str) -> int:
        """A command line against this server."""
        return run(["--server", SERVER, *argv], self.connect)

    def add(self, name: str, content: bytes, modified: int = 10**18, mode: int = 0o640) -> None:
        """Makes a file be there."""
        digest = hashlib.sha256(content).digest()
        self.contents[name] = content
        upload_id = hashlib.md5(name.encode(), usedforsecurity=False).digest()
        self.entries[name] = Entry(
            upload_id, len(content), modified, mode, 1_700_000_000, digest, None, name
        )


class FakeClient:
    """What the commands need of `client.Client`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def _call(self, what: str, name: str = "") -> None:
        if self._server.me is None and what != "register":
            raise NotRegistered(SERVER, "this client has no identity there", "register first")
        self._server.calls.append(f"{what} {name}".strip())
        if name in self._server.refusals:
            raise self._server.refusals[name]

    def register(self, name: str, token: str = "") -> bytes:
        self._call("register", name)
        self._server.me, self._server.token = name, token
        return CLIENT_ID

    def whoami(self) -> WhoAmI:
        self._call("whoami")
        return WhoAmI(CLIENT_ID, self._server.me or "", SERVER, FINGERPRINT)

    def put(
        self,
        local: Path | BinaryIO,
        name: str,
        *,
        policy: Policy = Policy.ALWAYS,
        progress: Progress | None = None,
        modified: int | None = None,
        mode: int | None = None,
    ) -> Receipt:
        self._call("put", name)
        content = self._content(local)
        for done in range(0, len(content), 1 << 20):
            (progress or print)(done, len(content) if isinstance(local, Path) else None)
        self._allow(name, policy, local)
        (progress or print)(len(content), len(content))
        stat = local.stat() if isinstance(local, Path) else None
        self._server.add(
            name,
            content,
            stat.st_mtime_ns if stat else 10**18,
            stat.st_mode & 0o7777 if stat else 0,
        )
        entry = self._server.entries[name]
        body = ReceiptBody(
            bytes(32), CLIENT_ID, entry.upload_id, entry.size, entry.received,
            entry.sha256 or b"", self._server.me or "", name,
        )  # fmt: skip
        return Receipt(body, b"")

    def _content(self, local: Path | BinaryIO) -> bytes:
        try:
            return local.read_bytes() if isinstance(local, Path) else local.read()
        except OSError as error:
            raise FileUnusable(f"{str(local)!r}: {error.strerror}") from error

    def _allow(self, name: str, policy: Policy, local: Path | BinaryIO) -> None:
        known = self._server.entries.get(name)
        newer = (
            known is not None
            and isinstance(local, Path)
            and local.stat().st_mtime_ns > known.modified
        )
        if known and (policy is Policy.NEVER or (policy is Policy.IF_OLDER and not newer)):
            raise Exists(f"{name!r} exists")

    def put_many(
        self,
        files: Iterable[tuple[Path, str]],
        *,
        on_file: Callable[[PutResult], None],
        policy: Policy = Policy.ALWAYS,
        progress: Progress | None = None,
    ) -> None:
        for path, name in files:
            receipt: Receipt | None = None
            failure: ClientError | None = None
            try:
                receipt = self.put(path, name, policy=policy, progress=lambda _done, _size: None)
            except FileFailed as error:
                failure = error
            on_file(RealPutResult(path, name, receipt, failure))

    def get(
        self, name: str, local: Path, *, progress: Progress | None = None, size: int | None = None
    ) -> Entry:
        self._call("get", name)
        if progress is not None:
            progress(self.stat(name).size, self.stat(name).size)
        with writing(local):
            local.write_bytes(self._server.contents[name])
        return self.stat(name)

    def read(self, name: str) -> Iterator[bytes]:
        self._call("read", name)
        self.stat(name)
        stream = io.BytesIO(self._server.contents[name])
        while piece := stream.read(4):
            yield piece

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self._call("list", prefix)
        for name, entry in sorted(self._server.entries.items()):
            if name.startswith(prefix):
                yield entry

    def stat(self, name: str) -> Entry:
        self._call("stat", name)
        try:
            return self._server.entries[name]
        except KeyError:
            raise NotFound(f"{name!r}: no such file") from None

    def remove(self, name: str) -> None:
        self._call("remove", name)
        self.stat(name)
        del self._server.entries[name]

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        self._call("rename", f"{old} {new}")
        self.stat(old)
        if new in self._server.entries and not replace:
            raise Exists(f"{new!r} exists")
        self._server.add(new, self._server.contents[old])
        del self._server.entries[old]

    def close(self) -> None:
        self._server.calls.append("close")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

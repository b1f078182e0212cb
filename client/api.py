"""A server of protocol 4 as an object with methods: what the command line uses, and scripts may."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, TypeVar

from client.address import parse_address
from client.downloading import Whole, download, fetch
from client.errors import BadInput, ConnectionFailed, FileFailed, NotFound
from client.link import Link, LinkOptions, OnWaiting
from client.pending import PendingUploads
from client.posting import PutResult
from client.receipts import Receipt, ReceiptStore, read_receipts, verify_receipt
from client.sending import Sender, check_name
from client.session4 import Session4
from client.state import Places
from client.uploading import Progress
from protocol.channel import format_fingerprint, parse_fingerprint
from protocol.contexts import SEGMENT_BYTES
from protocol.messages4 import Entries, Entry, Policy
from protocol.requests4 import MAX_LISTED

T = TypeVar("T")


class WhoAmI(NamedTuple):
    """Who a client is where; `fingerprint` is that of the certificate that the server showed."""

    client_id: bytes
    name: str
    server: str
    fingerprint: str


class Client:
    """This user at one server. Connects when it has to; a context manager, which disconnects.

    Not for several threads at once, and one transfer at a time. Every method may raise
    `ClientError`: `NotTrusted` when the server is not known to be the right one, `NotRegistered`,
    `AccessDenied`, `ConnectionFailed` when the connection was lost more than `retries` times in a
    row, and what its own description names.
    """

    def __init__(
        self,
        server: str,
        *,
        directory: Path | None = None,
        fingerprint: str | None = None,
        ca_file: Path | None = None,
        on_unknown_server: Callable[[str, str], bool] | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        limit_rate: int | None = None,
        on_waiting: OnWaiting | None = None,
    ) -> None:
        """Nothing is sent yet.

        `server` is HOST:PORT. The state is kept in `directory`, else where the system keeps such
        things. `fingerprint` is that which the server must have; `ca_file` holds certificate
        authorities to trust instead of the system's. `on_unknown_server` is asked, with server and
        fingerprint, whether to trust a server that nothing is known about; without it, such a
        server is an error. `timeout` is in seconds, `limit_rate` in bytes per second. `on_waiting`
        is told, before each retry, of the failure and of the seconds until the next try.
        """
        places = Places.of(directory)
        options = LinkOptions(
            _fingerprint(fingerprint), ca_file, on_unknown_server, timeout, retries, limit_rate,
            on_waiting,
        )  # fmt: skip
        self._link = Link(parse_address(server, "server"), places, options)
        self._receipts = ReceiptStore(places.receipts)
        self._sender = Sender(self._link, self._receipts, PendingUploads(places.uploads))

    def register(self, name: str, token: str = "") -> bytes:
        """Registers this user under `name`; the client id. The token is empty where anybody may.

        Raises `NameTaken`, `AccessDenied` (the token, or closed registration), `UnusableName`,
        `AlreadyRegistered`.
        """
        return self._link.register(name, token)

    def whoami(self) -> WhoAmI:
        """Who this client is, as the server confirms it."""

        def ask() -> WhoAmI:
            with self._link.use() as connection:
                signer = connection.access.signer
                return WhoAmI(
                    signer.client_id,
                    signer.client_name,
                    str(self._link.address),
                    format_fingerprint(connection.fingerprint),
                )

        return self._link.retrying(ask)

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
        """Stores a file, or what can be read from `local`, under `name`; the receipt, kept.

        `modified` is in nanoseconds since 1970 UTC; it and `mode` are the file's own where they are
        not given. Goes on where an earlier run was interrupted. Raises `FileFailed`: `Exists`
        (`policy`), `QuotaExceeded`, `TooLarge`, `ServerFull`, `FileUnusable`, `FileChanged`,
        `UnusableName`, `StreamLost`.
        """
        shown = progress or _unseen
        if isinstance(local, Path):
            return self._sender.send_file(local, name, policy, shown, modified, mode)
        return self._sender.send_stream(local, name, policy, shown, modified, mode)

    def put_many(
        self,
        files: Iterable[tuple[Path, str]],
        *,
        policy: Policy = Policy.ALWAYS,
        on_file: Callable[[PutResult], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Stores files under names; `on_file` is told of each, acknowledged or failed, in order.

        Small ones are sent without waiting for each. `progress` is told of the bytes of all files
        together; how many there are is None. What is raised ended the whole: files that `on_file`
        was not told of are to be sent again.
        """
        self._sender.send_many(files, policy, on_file or _untold, progress or _unseen)

    def get(
        self, name: str, local: Path, *, progress: Progress | None = None, size: int | None = None
    ) -> Entry:
        """Fetches a file to the path `local`, with its time and mode, and replaces what is there.

        `size`, in bytes, is what the caller knows of it, which saves asking the server.
        It is there only when it is complete and verified. Goes on where an earlier run was
        interrupted. Raises `NotFound`, `FileUnusable`, `NotWritten`, `ContentTampered`.
        """
        check_name(name)
        backoff = self._link.backoff()
        furthest = 0

        def seen(done: int, size: int | None) -> None:
            nonlocal furthest
            if done > furthest:
                furthest = done
                backoff.answered()
            (progress or _unseen)(done, size)

        def attempt() -> Entry:
            with self._link.use() as connection:
                connection.prepare(connection.session.stat(name).size if size is None else size)
                return download(connection.session, connection.access, name, local, progress=seen)

        return self._link.retrying(attempt, backoff)

    def read(self, name: str) -> Iterator[bytes]:
        """A file's content in pieces, each verified; close the iterator when leaving early.

        Only when the iterator ends without an error is it the whole file. Raises `NotFound`,
        `ContentTampered`.
        """
        check_name(name)
        return self._read(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The files whose names begin with `prefix`, in the order of their names' bytes."""
        after: str | None = ""
        while after is not None:
            page = self._request(partial(_page, prefix=prefix, after=after))
            yield from page.entries
            after = page.entries[-1].name if page.more else None

    def stat(self, name: str) -> Entry:
        """One file's entry; raises `NotFound`."""
        check_name(name)
        return self._request(lambda session: session.stat(name))

    def remove(self, name: str) -> None:
        """Removes a file; raises `NotFound`."""
        check_name(name)
        tries = 0

        def attempt(session: Session4) -> None:
            nonlocal tries
            tries += 1
            try:
                session.remove(name)
            except NotFound:
                # An earlier try whose answer was lost may have removed it.
                if tries == 1:
                    raise

        self._request(attempt)

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        """Renames a file; raises `NotFound`, and `Exists` unless it may `replace` another one."""
        check_name(old)
        check_name(new)
        policy = Policy.ALWAYS if replace else Policy.NEVER
        renamed: bytes | None = None

        def attempt(session: Session4) -> None:
            nonlocal renamed
            if renamed is None:
                renamed = session.stat(old).upload_id
                session.rename(old, new, policy)
                return
            try:
                session.rename(old, new, policy)
            except FileFailed:
                # An earlier try whose answer was lost may have renamed it.
                if not _is_there(session, new, renamed):
                    raise

        self._request(attempt)

    def receipts(self) -> Iterator[Receipt]:
        """The receipts that are kept, from all servers, the oldest first; without connecting.

        Raises `BadReceipt` at one that does not verify under the receipt keys that are known.
        """
        keys = self._link.known.receipt_keys()
        for path in self._receipts.paths():
            for packed in read_receipts(path):
                yield Receipt(verify_receipt(packed, keys), packed, path)

    def presented_fingerprint(self) -> str:
        """What the server shows now, trusted or not; nothing is sent to it but a TLS handshake."""
        return format_fingerprint(self._link.retrying(self._link.trust.presented_fingerprint))

    def close(self) -> None:
        """Ends the connection; the next call makes another one."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _request(self, work: Callable[[Session4], T]) -> T:
        def attempt() -> T:
            with self._link.use() as connection:
                return work(connection.session)

        return self._link.retrying(attempt)

    def _read(self, name: str) -> Iterator[bytes]:
        backoff = self._link.backoff()
        whole: Whole | None = None
        upload_id: bytes | None = None
        offset = 0
        complete = False
        while not complete:
            try:
                with self._link.use() as connection:
                    connection.prepare(connection.session.stat(name).size)
                    entry, pieces = fetch(
                        connection.session, connection.access, name, offset, upload_id
                    )
                    whole = whole or Whole(entry)
                    upload_id = entry.upload_id
                    for piece in pieces:
                        whole.update(piece)
                        yield bytes(piece)
                        # Only the final segment is not full, and nothing follows it.
                        offset += SEGMENT_BYTES
                        backoff.answered()
                    complete = True
            except ConnectionFailed as error:
                backoff.failed(error)
        if whole is not None:
            whole.check()


def _page(session: Session4, *, prefix: str, after: str) -> Entries:
    return session.list_page(prefix, after, MAX_LISTED)


def _is_there(session: Session4, name: str, upload_id: bytes) -> bool:
    try:
        return session.stat(name).upload_id == upload_id
    except NotFound:
        return False


def _fingerprint(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise BadInput("fingerprint", f"{text!r} is none", f"write {error}") from error


def _unseen(_done: int, _total: int | None) -> None:
    """For who does not watch."""


def _untold(_result: PutResult) -> None:
    """For who does not ask."""

"""The servers that this client knows, by their certificates; and their receipt keys.

A line for each: `host:port fingerprint receipt-key,...`. The fingerprint is `CA` where a
certificate authority vouched for the server, which it must then do every time; the keys, in base64,
are those that the server has told, `-` when it has told none.
"""

import base64
import binascii
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from client.address import Address
from client.errors import BadState, ServerChanged
from client.private_files import WRITABLE_BY_OTHERS, write_private
from client.state import locked, read_text, writing
from protocol.channel import format_fingerprint, parse_fingerprint
from protocol.responses4 import RECEIPT_KEY_BYTES

_BY_AUTHORITY = ServerChanged.BY_AUTHORITY
_NO_KEYS = "-"
_REMEDY = "correct or remove that line"


class KnownServer(NamedTuple):
    """`fingerprint` is None where a certificate authority vouches for the server."""

    server: str
    fingerprint: bytes | None
    receipt_keys: tuple[bytes, ...] = ()

    @property
    def shown_fingerprint(self) -> str:
        """As in the file."""
        return format_fingerprint(self.fingerprint) if self.fingerprint else _BY_AUTHORITY


def server_key(address: Address) -> str:
    """How a server is called in the state: the host in lower case, and the port."""
    return str(address).lower()


class KnownServers:
    """The file of known servers. Reading raises `BadState`, writing `NotWritten` too.

    A line that cannot be read is an error and not passed over: it may be the one that matters.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> tuple[KnownServer, ...]:
        """All of them, in the order of the file."""
        text = read_text(self._path, WRITABLE_BY_OTHERS) or ""
        lines = enumerate(text.splitlines(), 1)
        return tuple(
            self._parsed(line, number)
            for number, line in lines
            if line.strip() and not line.startswith("#")
        )

    def find(self, address: Address) -> KnownServer | None:
        """The one at this address."""
        key = server_key(address)
        return next((known for known in self.all() if known.server == key), None)

    def receipt_keys(self) -> frozenset[bytes]:
        """Of all servers."""
        return frozenset(key for known in self.all() for key in known.receipt_keys)

    def trust(self, address: Address, fingerprint: bytes | None) -> None:
        """From now on the server at this address has this certificate; its receipt keys stay."""
        with self._locked():
            known = self.find(address) or KnownServer(server_key(address), None)
            self._store(known._replace(fingerprint=fingerprint))

    def add_receipt_key(self, address: Address, key: bytes) -> None:
        """A key that the server told over a connection that was trusted.

        Earlier ones stay: receipts that they signed stay good.
        """
        with self._locked():
            known = self.find(address)
            if known is not None and key not in known.receipt_keys:
                self._store(known._replace(receipt_keys=(*known.receipt_keys, key)))

    def forget(self, address: Address) -> bool:
        """Removes the server and its receipt keys; False when it was not known."""
        with self._locked():
            others = [known for known in self.all() if known.server != server_key(address)]
            found = len(others) < len(self.all())
            if found:
                self._write(others)
            return found

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._path.with_name(f".{self._path.name}.lock"))

    def _store(self, new: KnownServer) -> None:
        servers = {known.server: known for known in self.all()}
        self._write((servers | {new.server: new}).values())

    def _write(self, servers: Iterable[KnownServer]) -> None:
        lines = "".join(f"{_line(known)}\n" for known in servers)
        with writing(self._path):
            write_private(self._path, lines.encode())

    def _parsed(self, line: str, number: int) -> KnownServer:
        try:
            server, fingerprint, keys = line.split()
            return KnownServer(
                server,
                None if fingerprint == _BY_AUTHORITY else parse_fingerprint(fingerprint),
                () if keys == _NO_KEYS else tuple(map(_receipt_key, keys.split(","))),
            )
        except (ValueError, binascii.Error) as error:
            raise BadState(f"{self._path}, line {number}", "malformed", _REMEDY) from error


def _line(known: KnownServer) -> str:
    keys = ",".join(base64.b64encode(key).decode() for key in known.receipt_keys)
    return f"{known.server} {known.shown_fingerprint} {keys or _NO_KEYS}"


def _receipt_key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != RECEIPT_KEY_BYTES:
        raise ValueError(f"a receipt key of {len(key)} bytes")
    return key

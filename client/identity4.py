"""Who this client is at each server of protocol 4.

An identity is one PEM file for each server: a few lines that say who and where, which tools for PEM
pass over, and the private key (RSA of 3072 bits, PKCS#8).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from client.address import Address
from client.errors import AlreadyRegistered, BadState, NotRegistered
from client.known_servers import server_key
from client.private_files import sync_directory, write_private
from client.state import locked, make_private_directory, read_text, writing
from protocol.errors import UnsafeName
from protocol.header import CLIENT_ID_BYTES
from protocol.names import check_client_name

if TYPE_CHECKING:
    from Crypto.PublicKey.RSA import RsaKey

RSA_BITS = 3072
RSA_EXPONENT = 65537

_BEGIN = "-----BEGIN "
_REMEDY = "restore it from a copy, or move it away to register anew"


@dataclass(frozen=True, slots=True)
class Identity4:
    """The name and the 16-byte id of this client at one server, and its private key."""

    name: str
    client_id: bytes
    private_key: "RsaKey" = field(repr=False)


class Identities:
    """The identities in a directory. Reading raises `BadState`, writing `NotWritten`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, address: Address) -> Path:
        """The file of the identity at this server."""
        return self._directory / f"{server_key(address)}.pem"

    def load(self, address: Address) -> Identity4:
        """The identity at this server; raises `NotRegistered` when there is none."""
        text = read_text(self.path(address))
        if text is None:
            raise NotRegistered(
                str(address),
                f"this client has no identity there ({self.path(address)})",
                "register first",
            )
        return _parsed(text, str(self.path(address)))

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from registering here at the same time."""
        return locked(self._directory / ".lock")

    def begin(self, address: Address) -> "RsaKey":
        """The key to register, stored: no name is spent on a registration that could not be kept.

        It is that of an earlier registration which was refused or whose answer was lost, if there
        was one, else a new one. Raises `AlreadyRegistered` when there is an identity here.
        """
        if self.path(address).exists():
            raise AlreadyRegistered(
                str(address),
                f"this client is registered there ({self.path(address)})",
                "move that file away to register as another client",
            )
        unfinished = read_text(self._unfinished(address))
        if unfinished is not None:
            return _key(unfinished, str(self._unfinished(address)))
        key = make_key()
        make_private_directory(self._directory)
        self._write(self._unfinished(address), _pem(key))
        return key

    def complete(self, address: Address, identity: Identity4) -> None:
        """Stores what the server has registered."""
        head = f"server: {address}\nname: {identity.name}\nclient id: {identity.client_id.hex()}\n"
        self._write(self.path(address), head + _pem(identity.private_key))
        with writing(self._directory):
            self._unfinished(address).unlink(missing_ok=True)
            sync_directory(self._directory)

    def _unfinished(self, address: Address) -> Path:
        return self.path(address).with_suffix(".pem.new")

    def _write(self, path: Path, text: str) -> None:
        with writing(path):
            write_private(path, text.encode())


def make_key() -> "RsaKey":
    """A new key; takes a second or more."""
    from Crypto.PublicKey import RSA

    return RSA.generate(RSA_BITS, e=RSA_EXPONENT)


def public_key_der(key: "RsaKey") -> bytes:
    """The public part as DER SubjectPublicKeyInfo."""
    return key.public_key().export_key("DER")


def _pem(key: "RsaKey") -> str:
    return key.export_key("PEM", pkcs=8).decode() + "\n"


def _parsed(text: str, origin: str) -> Identity4:
    head, begin, rest = text.partition(_BEGIN)
    fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    name = fields.get("name", "")
    try:
        check_client_name(name)
        client_id = bytes.fromhex(fields.get("client id", ""))
        if len(client_id) != CLIENT_ID_BYTES:
            raise ValueError
    except (UnsafeName, ValueError) as error:
        raise BadState(origin, "without a usable name or client id", _REMEDY) from error
    return Identity4(name, client_id, _key(begin + rest, origin))


def _key(pem: str, origin: str) -> "RsaKey":
    from Crypto.PublicKey import RSA

    try:
        key = RSA.import_key(pem)
    except (ValueError, IndexError, TypeError):
        # Without the cause and its text: they may quote the key.
        raise BadState(origin, "without a usable private key", _REMEDY) from None
    if not key.has_private() or key.size_in_bits() != RSA_BITS:
        raise BadState(origin, f"without a private RSA key of {RSA_BITS} bits", _REMEDY)
    return key

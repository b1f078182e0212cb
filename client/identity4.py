"""Who this client is at each server of protocol 4.

An identity is one PEM file for each server: a few lines that say who and where, which tools for PEM
pass over, and the private key (RSA of 3072 bits, PKCS#8).
"""

from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from client.address import Address
from client.errors import AlreadyRegistered, BadState, NotRegistered
from client.known_servers import server_key
from client.pkcs8 import read_rsa_numbers
from client.private_files import READABLE_BY_OTHERS, sync_directory, write_private
from client.state import locked, make_private_directory, read_text, writing
from protocol.errors import UnsafeName
from protocol.header import CLIENT_ID_BYTES
from protocol.names import check_client_name

# Imports of cryptography stand where it is used: --help and errors are quicker without.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

RSA_BITS = 3072
RSA_EXPONENT = 65537

_BEGIN = "-----BEGIN "
_REMEDY = "restore it from a copy, or move it away to register anew"


class Identity4(NamedTuple):
    """The name and the 16-byte id of this client at one server, and its private key in PEM."""

    name: str
    client_id: bytes
    private_key: bytes

    def __repr__(self) -> str:
        return f"Identity4({self.name!r}, {self.client_id!r})"  # the key is not to get into logs


class Identities:
    """The identities in a directory. Reading raises `BadState`, writing `NotWritten`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, address: Address) -> Path:
        """The file of the identity at this server."""
        return self._directory / f"{server_key(address)}.pem"

    def load(self, address: Address) -> Identity4:
        """The identity at this server; raises `NotRegistered` when there is none."""
        text = read_text(self.path(address), READABLE_BY_OTHERS)
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

    def begin(self, address: Address) -> bytes:
        """The key to register, in PEM, stored: no name is spent on a registration that is not kept.

        It is that of an earlier registration which was refused or whose answer was lost, if there
        was one, else a new one. Raises `AlreadyRegistered` when there is an identity here.
        """
        if self.path(address).exists():
            raise AlreadyRegistered(
                str(address),
                f"this client is registered there ({self.path(address)})",
                "move that file away to register as another client",
            )
        unfinished = read_text(self._unfinished(address), READABLE_BY_OTHERS)
        if unfinished is not None:
            return _key(unfinished.encode(), str(self._unfinished(address)))
        key = make_key()
        make_private_directory(self._directory)
        self._write(self._unfinished(address), key)
        return key

    def complete(self, address: Address, identity: Identity4) -> None:
        """Stores what the server has registered."""
        head = f"server: {address}\nname: {identity.name}\nclient id: {identity.client_id.hex()}\n"
        self._write(self.path(address), head.encode() + identity.private_key)
        with writing(self._directory):
            self._unfinished(address).unlink(missing_ok=True)
            sync_directory(self._directory)

    def _unfinished(self, address: Address) -> Path:
        return self.path(address).with_suffix(".pem.new")

    def _write(self, path: Path, data: bytes) -> None:
        with writing(path):
            write_private(path, data)


def make_key() -> bytes:
    """A new key, PKCS#8 in PEM; takes a fraction of a second."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = generate_private_key(RSA_EXPONENT, RSA_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_key_der(private_key: bytes) -> bytes:
    """The public part of a key in PEM, as DER SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = load_key(private_key).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=1)  # once to see that it is usable, once to use it
def load_key(private_key: bytes) -> "RSAPrivateKey":
    """The key in this PEM; raises `ValueError` unless it is RSA of 3072 bits."""
    try:
        # Loading the library's reader of all key formats is a sixth of a short run.
        # Testing primes takes longer than all the rest of it, and the file is our own.
        key = read_rsa_numbers(private_key).private_key(unsafe_skip_rsa_key_validation=True)
    except ValueError:
        key = _load_other_key(private_key)
    if key.key_size != RSA_BITS:
        raise ValueError(f"not an RSA key of {RSA_BITS} bits")
    return key


def _load_other_key(private_key: bytes) -> "RSAPrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key, None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not a private key") from error
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


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
    return Identity4(name, client_id, _key((begin + rest).encode(), origin))


def _key(pem: bytes, origin: str) -> bytes:
    try:
        load_key(pem)
    except ValueError:
        # Without the cause and its text: they may quote the key.
        raise BadState(
            origin, f"without a usable private RSA key of {RSA_BITS} bits", _REMEDY
        ) from None
    return pem

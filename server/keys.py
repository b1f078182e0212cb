"""Keys of the server: its own key file, clients' ids and RSA keys, and AES keys under both."""

import os
from pathlib import Path

from Crypto.Cipher import AES, PKCS1_OAEP
from Crypto.Hash import SHA1
from Crypto.PublicKey import RSA

from protocol.channel import TLS_HANDSHAKE
from protocol.header import CLIENT_ID_BYTES
from server.durability import write_private
from server.errors import ConfigurationError, Refused
from server.privatefiles import check_private

_KEY_FILE_BYTES = 32
_RSA_BYTES = 128
_DER_SEQUENCE = 0x30


class KeyFile:
    """AES keys at rest: wrapped with AES-256 (RFC 3394) under a key that only this file holds."""

    def __init__(self, path: Path) -> None:
        """Reads the key, or makes it on the first start, durable and with mode 0600.

        Raises `ConfigurationError` when the file is not the server's alone or not a key.
        """
        try:
            self._key = self._read(path) if path.exists() else self._create(path)
        except OSError as error:
            raise ConfigurationError(f"key file {path}: {error.strerror}") from error

    def wrap(self, key: bytes) -> bytes:
        """A key of 16 or 32 bytes as 24 or 40 bytes."""
        return AES.new(self._key, AES.MODE_KW).seal(key)

    @staticmethod
    def _read(path: Path) -> bytes:
        with path.open("rb") as stream:
            check_private(path, os.fstat(stream.fileno()), f"key file {path}")
            key = stream.read(_KEY_FILE_BYTES + 1)
        if len(key) != _KEY_FILE_BYTES:
            raise ConfigurationError(f"key file {path} is damaged: restore it from a backup")
        return key

    @staticmethod
    def _create(path: Path) -> bytes:
        key = os.urandom(_KEY_FILE_BYTES)
        write_private(path, key)
        return key


def new_client_id() -> bytes:
    """A random 16-byte client id that cannot be taken for the start of a TLS connection."""
    while True:
        client_id = os.urandom(CLIENT_ID_BYTES)
        if client_id[0] != TLS_HANDSHAKE:
            return client_id


def new_aes_key(size: int) -> bytes:
    """A fresh AES key of `size` bytes from the operating system."""
    return os.urandom(size)


def parse_public_key(field: bytes) -> bytes:
    """The DER key in a public-key field that may end in zeros.

    Raises `Refused` unless it is an RSA public key whose modulus takes 128 bytes.
    """
    der = field[: _der_length(field)]
    try:
        key = RSA.import_key(der)
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        raise Refused("the public key is not an RSA key in DER") from error
    if key.has_private():
        raise Refused("the public key holds a private key")
    if key.size_in_bytes() != _RSA_BYTES:
        raise Refused(f"an RSA key of {key.size_in_bits()} bits where 1024 are expected")
    if key.n % 2 == 0 or key.e % 2 == 0 or not 2 < key.e < key.n:
        raise Refused("the RSA key's numbers are impossible")
    return der


def _der_length(field: bytes) -> int:
    if len(field) < 3 or field[0] != _DER_SEQUENCE or field[1] not in (0x81, 0x82):
        raise Refused("the public key is not an RSA key in DER")
    octets = field[1] & 0x0F
    length = 2 + octets + int.from_bytes(field[2 : 2 + octets], "big")
    if length > len(field) or any(field[length:]):
        raise Refused("the public key's length does not fit its field")
    return length


def wrap_for_client(aes_key: bytes, public_key: bytes) -> bytes:
    """The AES key under the client's DER public key: RSA-OAEP, SHA-1, empty label (RFC 8017, 7.1).

    Raises `Refused` when the key cannot carry it or is not one of protocol 3: whoever registered
    over protocol 4 must not be reached over the one that proves nothing.
    """
    key = RSA.import_key(public_key)
    if key.size_in_bytes() > _RSA_BYTES:
        raise Refused("the client's key is not one of protocol 3")
    try:
        return PKCS1_OAEP.new(key, hashAlgo=SHA1).encrypt(aes_key)
    except ValueError as error:
        raise Refused("the AES key does not fit the RSA key") from error

"""The client's cryptography for protocol 3: RSA-1024, RSA-OAEP, AES-CBC."""

from typing import TYPE_CHECKING, Protocol

from client.errors import BadIdentity, BadSessionKey
from protocol.messages3 import PUBLIC_KEY_BYTES

# pycryptodome takes up to a quarter of a second to import: --help and errors do without it.
if TYPE_CHECKING:
    from Crypto.PublicKey.RSA import RsaKey

BLOCK_BYTES = 16
_RSA_BITS = 1024
# With 65537 the key would be 162 bytes long and not fit the 160 of its field.
_RSA_EXPONENT = 17


class Encryptor(Protocol):
    """Encrypts block after block, in the order of the calls."""

    def encrypt(self, plaintext: memoryview, output: memoryview) -> None:
        """Whole blocks only; `output` is of the same length and may be `plaintext` itself."""


def make_private_key() -> bytes:
    """A new RSA-1024 key as PKCS#8 DER, whose public part fits protocol 3's field."""
    from Crypto.PublicKey import RSA

    return RSA.generate(_RSA_BITS, e=_RSA_EXPONENT).export_key("DER", pkcs=8)


def check_private_key(private_key: bytes) -> None:
    """Raises `ValueError` unless these bytes are an RSA private key."""
    _load(private_key)


def public_key_of(private_key: bytes) -> bytes:
    """The public part as DER SubjectPublicKeyInfo; `BadIdentity` when it exceeds 160 bytes."""
    public_key = _load(private_key).public_key().export_key("DER")
    if len(public_key) > PUBLIC_KEY_BYTES:
        raise BadIdentity(
            "private key",
            f"its public key has {len(public_key)} bytes where {PUBLIC_KEY_BYTES} can be sent",
            "move me.info, me.info.new and priv.key away to register with a new key",
        )
    return public_key


def open_session_key(private_key: bytes, wrapped_key: bytes, key_bytes: int) -> bytes:
    """The AES key of `key_bytes` bytes that the server sealed for this private key.

    Raises `BadSessionKey` when it does not open or is of another length.
    """
    from Crypto.Cipher import PKCS1_OAEP

    try:
        session_key = PKCS1_OAEP.new(_load(private_key)).decrypt(wrapped_key)
    except ValueError as error:
        raise BadSessionKey(
            "the AES key sent by the server does not open with this client's private key;"
            " is the key in me.info or priv.key the one that was registered?"
        ) from error
    if len(session_key) != key_bytes:
        raise BadSessionKey(
            f"the server sent an AES key of {len(session_key)} bytes where this generation has"
            f" {key_bytes}; is --generation right?"
        )
    return session_key


def encryptor(session_key: bytes) -> Encryptor:
    """AES-CBC from a zero IV, as the protocol has it, for the content of one file."""
    from Crypto.Cipher import AES

    return AES.new(session_key, AES.MODE_CBC, iv=bytes(BLOCK_BYTES))


def sealed_size(plain_size: int) -> int:
    """Bytes of ciphertext for `plain_size` bytes: PKCS#7 adds 1 to 16."""
    return plain_size + BLOCK_BYTES - plain_size % BLOCK_BYTES


def _load(private_key: bytes) -> "RsaKey":
    from Crypto.PublicKey import RSA

    try:
        key = RSA.import_key(private_key)
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError("not an RSA key") from error
    if not key.has_private():
        raise ValueError("a public key only")
    return key

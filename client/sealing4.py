"""The client's cryptography for protocol 4 (sections 3.2 and 4 of docs/protocol-4.md)."""

import hmac
from typing import TYPE_CHECKING

from client.errors import BrokenProtocol, ChallengeNotOpened, ContentTampered
from protocol.contexts import (
    KEY_BYTES,
    SECRET_BYTES,
    TAG_BYTES,
    Direction,
    associated_data,
    challenge_context,
    content_key_info,
    segment_nonce,
)
from protocol.fields import Buffer

# pycryptodome takes its time to import: --help and errors do without it.
if TYPE_CHECKING:
    from Crypto.PublicKey.RSA import RsaKey


def open_challenge(
    private_key: "RsaKey", encrypted_secret: bytes, fingerprint: bytes, client_id: bytes
) -> tuple[bytes, bytes]:
    """The secret in a challenge, and the proof that it was opened.

    Raises `ChallengeNotOpened` when it is for another key, or comes through another server than the
    one with this fingerprint.
    """
    from Crypto.Cipher import PKCS1_OAEP
    from Crypto.Hash import SHA256

    context = challenge_context(fingerprint, client_id)
    try:
        cipher = PKCS1_OAEP.new(private_key, hashAlgo=SHA256, label=context)
        secret = cipher.decrypt(encrypted_secret)
    except ValueError as error:
        raise ChallengeNotOpened(
            "the server's challenge is not for this client: the client was removed or disabled"
            " there, or somebody between you and the server passes its challenge on; ask the"
            " server's operator"
        ) from error
    if len(secret) != SECRET_BYTES:
        raise BrokenProtocol(f"the server's challenge holds {len(secret)} bytes")
    return secret, hmac.digest(secret, context, "sha256")


class ContentKey:
    """The key of one content in one direction under one salt; seals or opens its segments.

    Sealing with one salt twice would give two contents the same nonces: a new object, with a new
    salt, for each attempt.
    """

    def __init__(
        self, secret: bytes, salt: bytes, direction: Direction, client_id: bytes, upload_id: bytes
    ) -> None:
        from Crypto.Hash import SHA256
        from Crypto.Protocol.KDF import HKDF

        info = content_key_info(direction, client_id, upload_id)
        key = HKDF(secret, KEY_BYTES, salt, SHA256, 1, context=info)
        if not isinstance(key, bytes):  # a tuple where several keys are asked for
            raise TypeError("HKDF gave several keys")
        self._key = key
        self._upload_id = upload_id

    def seal(self, buffer: memoryview, size: int, index: int, *, final: bool) -> memoryview:
        """Seals the first `size` bytes of `buffer` where they are, and puts the tag behind them."""
        from Crypto.Cipher import AES

        plain = buffer[:size]
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=segment_nonce(index, final=final))
        cipher.update(associated_data(self._upload_id, index))
        cipher.encrypt(plain, output=plain)
        buffer[size : size + TAG_BYTES] = cipher.digest()
        return buffer[: size + TAG_BYTES]

    def open(self, sealed: Buffer, index: int, output: memoryview, *, final: bool) -> memoryview:
        """The plain bytes, in `output`; raises `ContentTampered` when the tag does not fit.

        What `output` holds then is not to be used.
        """
        from Crypto.Cipher import AES

        data = memoryview(sealed)
        size = len(data) - TAG_BYTES
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=segment_nonce(index, final=final))
        cipher.update(associated_data(self._upload_id, index))
        plain = output[:size]
        try:
            cipher.decrypt_and_verify(data[:size], bytes(data[size:]), output=plain)
        except ValueError as error:
            raise ContentTampered(f"segment {index} does not verify: it was altered") from error
        return plain

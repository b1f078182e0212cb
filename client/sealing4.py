"""The client's cryptography for protocol 4 (sections 3.2 and 4 of docs/protocol-4.md)."""

import hmac

from client.errors import BrokenProtocol, ChallengeNotOpened, ContentTampered
from protocol.contexts import (
    FILES_NONCE,
    KEY_BYTES,
    SECRET_BYTES,
    TAG_BYTES,
    Direction,
    associated_data,
    challenge_context,
    content_key_info,
    files_key_info,
    segment_nonce,
)
from protocol.fields import Buffer

# Imports of cryptography stand where it is used: --help and errors are quicker without.


def open_challenge(
    private_key: bytes, encrypted_secret: bytes, fingerprint: bytes, client_id: bytes
) -> tuple[bytes, bytes]:
    """The secret in a challenge, and the proof that it was opened. The key is in PEM.

    Raises `ChallengeNotOpened` when it is for another key, or comes through another server than the
    one with this fingerprint.
    """
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    from client.identity4 import load_key

    context = challenge_context(fingerprint, client_id)
    padding = OAEP(MGF1(SHA256()), SHA256(), context)
    try:
        secret = load_key(private_key).decrypt(encrypted_secret, padding)
    except ValueError as error:
        raise ChallengeNotOpened(
            "the server's challenge is not for this client: the client was removed or disabled"
            " there, or somebody between you and the server passes its challenge on; ask the"
            " server's operator"
        ) from error
    if len(secret) != SECRET_BYTES:
        raise BrokenProtocol(f"the server's challenge holds {len(secret)} bytes")
    return secret, hmac.digest(secret, context, "sha256")


def seal_files(
    secret: bytes, salt: bytes, client_id: bytes, table: bytes, content: Buffer
) -> bytes:
    """The sealed content of the small files in one *put* (section 5.2); a salt is used once."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = HKDF(SHA256(), KEY_BYTES, salt, files_key_info(client_id)).derive(secret)
    return AESGCM(key).encrypt(FILES_NONCE, content, table)


class ContentKey:
    """The key of one content in one direction under one salt; seals or opens its segments.

    Sealing with one salt twice would give two contents the same nonces: a new object, with a new
    salt, for each attempt.
    """

    def __init__(
        self, secret: bytes, salt: bytes, direction: Direction, client_id: bytes, upload_id: bytes
    ) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = content_key_info(direction, client_id, upload_id)
        self._cipher = AESGCM(HKDF(SHA256(), KEY_BYTES, salt, info).derive(secret))
        self._upload_id = upload_id

    def seal(self, buffer: memoryview, size: int, index: int, *, final: bool) -> memoryview:
        """Seals the first `size` bytes of `buffer` where they are, and puts the tag behind them."""
        sealed = buffer[: size + TAG_BYTES]
        nonce, covered = segment_nonce(index, final=final), associated_data(self._upload_id, index)
        self._cipher.encrypt_into(nonce, buffer[:size], covered, sealed)
        return sealed

    def open(self, sealed: Buffer, index: int, output: memoryview, *, final: bool) -> memoryview:
        """The plain bytes, in `output`; raises `ContentTampered` when the tag does not fit.

        What `output` holds then is not to be used.
        """
        from cryptography.exceptions import InvalidTag

        plain = output[: len(sealed) - TAG_BYTES]
        nonce, covered = segment_nonce(index, final=final), associated_data(self._upload_id, index)
        try:
            self._cipher.decrypt_into(nonce, sealed, covered, plain)
        except InvalidTag as error:
            raise ContentTampered(f"segment {index} does not verify: it was altered") from error
        return plain

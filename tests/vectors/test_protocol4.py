"""protocol4.json against the product's parts: pycryptodome and the package `protocol`."""

import hashlib
import json
from typing import Any

import pytest
from Crypto.Cipher import AES, PKCS1_OAEP
from Crypto.Hash import HMAC, SHA256
from Crypto.Protocol.KDF import HKDF
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import eddsa

from protocol.contexts import (
    SEGMENT_BYTES,
    Direction,
    associated_data,
    challenge_context,
    content_key_info,
    segment_count,
    segment_nonce,
    segment_span,
)
from protocol.decoder4 import FrameDecoder
from protocol.messages4 import (
    REQUESTS,
    RESPONSES,
    Begin,
    Begun,
    Challenge,
    Connect,
    Connected,
    Content,
    End,
    Entry,
    Get,
    Policy,
    Prove,
    Put,
    Register,
    Registered,
    Request4,
    Response4,
    Segment,
    Stored,
    pack_message,
)
from protocol.receipts import ReceiptBody
from tests.vectors import make_protocol4

VECTORS: dict[str, Any] = json.loads(make_protocol4.FILE.read_text())
UPLOADS: list[dict[str, Any]] = VECTORS["uploads"]
CLIENT_ID = bytes.fromhex(VECTORS["client id"])
FINGERPRINT = bytes.fromhex(VECTORS["fingerprint"])
SECRET = bytes.fromhex(VECTORS["secret"])
NAME: str = VECTORS["client name"]
MODIFIED: int = VECTORS["modified"]

every_upload = pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: str(upload["name"]))


def data(where: dict[str, Any], *path: str) -> bytes:
    """The bytes that stand in hex at this place."""
    place: Any = where
    for name in path:
        place = place[name]
    return bytes.fromhex(place)


def plain(upload: dict[str, Any]) -> bytes:
    return hashlib.shake_256(b"eft/4 test content").digest(upload["size"])


def content_key(direction: Direction, salt: bytes, upload_id: bytes) -> bytes:
    info = content_key_info(direction, CLIENT_ID, upload_id)
    key = HKDF(SECRET, 32, salt, SHA256, context=info)
    assert isinstance(key, bytes)
    return key


def opened(key: bytes, upload_id: bytes, index: int, final: bool, sealed: bytes) -> bytes:
    cipher = AES.new(key, AES.MODE_GCM, nonce=segment_nonce(index, final=final))
    cipher.update(associated_data(upload_id, index))
    return cipher.decrypt_and_verify(sealed[:-16], sealed[-16:])


def sealed_by(key: bytes, upload_id: bytes, index: int, final: bool, content: bytes) -> bytes:
    cipher = AES.new(key, AES.MODE_GCM, nonce=segment_nonce(index, final=final))
    cipher.update(associated_data(upload_id, index))
    return b"".join(cipher.encrypt_and_digest(content))


def is_message(message: Request4 | Response4, request_id: int, expected: bytes) -> bool:
    """Whether this message is these bytes, packed and decoded."""
    table: Any = REQUESTS if isinstance(message, Request4) else RESPONSES
    decoder: FrameDecoder[Any] = FrameDecoder(table)
    decoder.writable()[: len(expected)] = expected
    decoded = list(decoder.written(len(expected)))
    return decoded == [(request_id, message)] and pack_message(message, request_id) == expected


def test_the_file_is_what_its_script_makes() -> None:
    assert make_protocol4.FILE.read_text() == make_protocol4.as_text()


def test_the_challenge_opens_under_the_context_and_no_other() -> None:
    key = RSA.import_key(make_protocol4.CLIENT_KEY_FILE.read_bytes())
    assert (key.size_in_bits(), key.e) == (3072, 65537)
    context = challenge_context(FINGERPRINT, CLIENT_ID)
    assert context == data(VECTORS, "connect", "context")
    encrypted = data(VECTORS, "connect", "encrypted secret")
    assert PKCS1_OAEP.new(key, SHA256, label=context).decrypt(encrypted) == SECRET
    other = challenge_context(FINGERPRINT[::-1], CLIENT_ID)
    with pytest.raises(ValueError, match="ncorrect"):
        PKCS1_OAEP.new(key, SHA256, label=other).decrypt(encrypted)


def test_the_proof_is_the_hmac_of_the_context() -> None:
    context = challenge_context(FINGERPRINT, CLIENT_ID)
    proof = HMAC.new(SECRET, context, SHA256).digest()
    assert proof == data(VECTORS, "connect", "proof")


def test_the_messages_of_registering_and_connecting() -> None:
    connect = VECTORS["connect"]
    key = RSA.import_key(make_protocol4.CLIENT_KEY_FILE.read_bytes()).public_key()
    receipt_key = data(VECTORS, "receipt", "receipt key")
    received = VECTORS["receipt"]["received"]
    messages: list[tuple[str, Request4 | Response4, int]] = [
        ("register", Register(NAME, "", key.export_key("DER")), 1),
        ("registered", Registered(CLIENT_ID), 1),
        ("connect", Connect(CLIENT_ID), 2),
        ("challenge", Challenge(data(connect, "encrypted secret")), 2),
        ("prove", Prove(data(connect, "proof")), 3),
        ("connected", Connected(receipt_key, received, NAME), 3),
    ]
    assert [name for name, _, _ in messages] == list(connect["messages"])
    for name, message, request_id in messages:
        assert is_message(message, request_id, data(connect, "messages", name)), name


@every_upload
def test_the_key_of_an_upload_is_derived(upload: dict[str, Any]) -> None:
    upload_id = data(upload, "upload id")
    info = content_key_info(Direction.TO_SERVER, CLIENT_ID, upload_id)
    assert info == data(upload, "info")
    key = content_key(Direction.TO_SERVER, data(upload, "salt"), upload_id)
    assert key == data(upload, "key")


@every_upload
def test_the_segments_of_an_upload_are_sealed(upload: dict[str, Any]) -> None:
    key, upload_id, content = data(upload, "key"), data(upload, "upload id"), plain(upload)
    assert len(upload["segments"]) == segment_count(len(content))
    for index, segment in enumerate(upload["segments"]):
        final = index == len(upload["segments"]) - 1
        assert (segment["index"], segment["final"]) == (index, final)
        assert segment_nonce(index, final=final) == data(segment, "nonce")
        assert associated_data(upload_id, index) == data(segment, "associated data")
        start, end = segment_span(index, len(content))
        sealed = sealed_by(key, upload_id, index, final, content[start:end])
        assert segment["size"] == len(sealed)
        if "sealed" in segment:
            assert sealed == data(segment, "sealed")
            assert opened(key, upload_id, index, final, sealed) == content[start:end]
            request = Segment(upload_id, index, final, sealed)
            assert is_message(request, 5 + index, data(segment, "message"))
        else:
            assert hashlib.sha256(sealed).digest() == data(segment, "sha256")
            assert sealed[:32] == data(segment, "first 32")
            assert sealed[-32:] == data(segment, "last 32")


@every_upload
def test_the_messages_of_an_upload(upload: dict[str, Any]) -> None:
    upload_id, size, digest = data(upload, "upload id"), upload["size"], data(upload, "sha256")
    assert digest == hashlib.sha256(plain(upload)).digest()
    begin = Begin(
        upload_id,
        data(upload, "salt"),
        size,
        MODIFIED,
        0o640,
        Policy.IF_OLDER,
        upload["file name"],
    )
    assert is_message(begin, 4, data(upload, "begin"))
    assert is_message(Begun(0), 4, data(upload, "begun"))
    assert is_message(End(upload_id, size, digest), 9, data(upload, "end"))


def test_full_short_and_empty_final_segments_are_among_them() -> None:
    finals = [upload["segments"][-1]["size"] - 16 for upload in UPLOADS]
    assert finals == [100, SEGMENT_BYTES, 0]


def test_a_small_file_in_one_message() -> None:
    put = VECTORS["put"]
    upload_id, salt, content = data(put, "upload id"), data(put, "salt"), data(put, "content")
    key = content_key(Direction.TO_SERVER, salt, upload_id)
    sealed = data(put, "sealed")
    assert key == data(put, "key")
    assert opened(key, upload_id, 0, True, sealed) == content
    digest = hashlib.sha256(content).digest()
    request = Put(upload_id, salt, MODIFIED, 0o600, Policy.ALWAYS, digest, put["file name"], sealed)
    assert is_message(request, 10, data(put, "message"))


def test_a_download_is_sealed_for_the_other_direction() -> None:
    get, upload = VECTORS["get"], UPLOADS[0]
    upload_id, salt, sealed = data(upload, "upload id"), data(get, "salt"), data(get, "sealed")
    assert content_key_info(Direction.TO_CLIENT, CLIENT_ID, upload_id) == data(get, "info")
    key = content_key(Direction.TO_CLIENT, salt, upload_id)
    assert key == data(get, "key")
    assert opened(key, upload_id, 1, True, sealed) == plain(upload)[SEGMENT_BYTES:]
    name, digest = upload["file name"], data(upload, "sha256")
    received = VECTORS["receipt"]["received"]
    entry = Entry(upload_id, upload["size"], MODIFIED, 0o640, received, digest, None, name)
    assert is_message(Get(salt, SEGMENT_BYTES, name), 11, data(get, "get"))
    assert is_message(entry, 11, data(get, "entry"))
    assert is_message(Content(1, True, sealed), 11, data(get, "content"))


def test_the_receipt_is_signed_by_the_receipt_key() -> None:
    receipt, put = VECTORS["receipt"], VECTORS["put"]
    key = ECC.construct(curve="Ed25519", seed=data(receipt, "seed"))
    receipt_key = data(receipt, "receipt key")
    assert key.public_key().export_key(format="raw") == receipt_key
    content = data(put, "content")
    body = ReceiptBody(
        receipt_key,
        CLIENT_ID,
        data(put, "upload id"),
        len(content),
        receipt["received"],
        hashlib.sha256(content).digest(),
        NAME,
        put["file name"],
    )
    assert ReceiptBody.unpack(data(receipt, "body")) == body
    assert body.pack() == data(receipt, "body")
    signature = data(receipt, "signature")
    public = eddsa.import_public_key(receipt_key)
    eddsa.new(public, "rfc8032").verify(body.pack(), signature)
    with pytest.raises(ValueError, match="not authentic"):
        eddsa.new(public, "rfc8032").verify(body.pack() + b"\0", signature)
    assert is_message(Stored(body.pack(), signature), 10, data(receipt, "stored"))

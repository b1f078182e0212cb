"""protocol4.json against what the product is made of: `cryptography` and the package `protocol`.

Its script uses pycryptodome, so that each library checks the other.
"""

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from protocol.channel import DATA_PREFACE
from protocol.contexts import (
    FILES_NONCE,
    SEGMENT_BYTES,
    Direction,
    associated_data,
    challenge_context,
    content_key_info,
    files_key_info,
    segment_count,
    segment_nonce,
    segment_span,
)
from protocol.decoder4 import FrameDecoder
from protocol.merkle import MerkleTree, leaf_hash, root_from
from protocol.messages4 import (
    REQUESTS,
    RESPONSES,
    Attach,
    Begin,
    Begun,
    Challenge,
    Connect,
    Connected,
    Content,
    Done,
    End,
    Entry,
    Get,
    Outcomes,
    Policy,
    Prove,
    Put,
    Reason,
    Refused,
    Register,
    Registered,
    Request4,
    Response4,
    Segment,
    Stored,
    Ticket,
    pack_message,
)
from protocol.receipts import ReceiptBodies, ReceiptBody, pack_receipts, signed_bytes
from protocol.smallfiles import (
    Outcome,
    SmallFile,
    pack_file,
    pack_outcomes,
    sealed_bytes,
    unpack_files,
    unpack_outcomes,
)
from tests.vectors import make_protocol4

VECTORS: dict[str, Any] = json.loads(make_protocol4.FILE.read_text())
UPLOADS: list[dict[str, Any]] = VECTORS["uploads"]
TREES: list[dict[str, Any]] = VECTORS["batch"]["trees"]
CLIENT_ID = bytes.fromhex(VECTORS["client id"])
FINGERPRINT = bytes.fromhex(VECTORS["fingerprint"])
SECRET = bytes.fromhex(VECTORS["secret"])
NAME: str = VECTORS["client name"]
MODIFIED: int = VECTORS["modified"]

every_upload = pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: str(upload["name"]))
every_tree = pytest.mark.parametrize("tree", TREES, ids=lambda tree: str(tree["count"]))


def data(where: dict[str, Any], *path: str) -> bytes:
    """The bytes that stand in hex at this place."""
    place: Any = where
    for name in path:
        place = place[name]
    return bytes.fromhex(place)


def content(size: int) -> bytes:
    return hashlib.shake_256(b"eft/4 test content").digest(size)


def plain(upload: dict[str, Any]) -> bytes:
    return content(upload["size"])


def client_key() -> RSAPrivateKey:
    key = load_pem_private_key(make_protocol4.CLIENT_KEY_FILE.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def receipt_key() -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(data(VECTORS, "receipt", "receipt key"))


def content_key(direction: Direction, salt: bytes, upload_id: bytes) -> bytes:
    info = content_key_info(direction, CLIENT_ID, upload_id)
    return HKDF(SHA256(), 32, salt, info).derive(SECRET)


def opened(key: bytes, upload_id: bytes, index: int, final: bool, sealed: bytes) -> bytes:
    nonce = segment_nonce(index, final=final)
    return AESGCM(key).decrypt(nonce, sealed, associated_data(upload_id, index))


def sealed_by(key: bytes, upload_id: bytes, index: int, final: bool, content: bytes) -> bytes:
    nonce = segment_nonce(index, final=final)
    return AESGCM(key).encrypt(nonce, content, associated_data(upload_id, index))


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
    key = client_key()
    assert (key.key_size, key.public_key().public_numbers().e) == (3072, 65537)
    context = challenge_context(FINGERPRINT, CLIENT_ID)
    assert context == data(VECTORS, "connect", "context")
    encrypted = data(VECTORS, "connect", "encrypted secret")
    assert key.decrypt(encrypted, OAEP(MGF1(SHA256()), SHA256(), context)) == SECRET
    other = challenge_context(FINGERPRINT[::-1], CLIENT_ID)
    with pytest.raises(ValueError, match="ecryption failed"):
        key.decrypt(encrypted, OAEP(MGF1(SHA256()), SHA256(), other))


def test_the_proof_is_the_hmac_of_the_context() -> None:
    context = challenge_context(FINGERPRINT, CLIENT_ID)
    assert hmac.digest(SECRET, context, "sha256") == data(VECTORS, "connect", "proof")


def test_the_messages_of_registering_and_connecting() -> None:
    connect = VECTORS["connect"]
    public = client_key().public_key()
    public_key = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    received = VECTORS["receipt"]["received"]
    messages: list[tuple[str, Request4 | Response4, int]] = [
        ("register", Register(NAME, "", public_key), 1),
        ("registered", Registered(CLIENT_ID), 1),
        ("connect", Connect(CLIENT_ID), 2),
        ("challenge", Challenge(data(connect, "encrypted secret")), 2),
        ("prove", Prove(data(connect, "proof")), 3),
        ("connected", Connected(receipt_key().public_bytes_raw(), received, NAME), 3),
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


def small_files() -> list[tuple[SmallFile, bytes]]:
    """The files of the *put*, with their content."""
    put = VECTORS["put"]
    return [
        (
            SmallFile(
                data(each, "upload id"), len(plain), MODIFIED, 0o600, Policy.ALWAYS,
                hashlib.sha256(plain).digest(), each["file name"],
            ),
            plain,
        )
        for each in (put, *put["others"])
        for plain in (data(each, "content"),)
    ]  # fmt: skip


def test_small_files_in_one_message() -> None:
    put, files = VECTORS["put"], small_files()
    table, sealed, salt = data(put, "table"), data(put, "sealed"), data(put, "salt")
    assert b"".join(pack_file(file) for file, _ in files) == table
    assert unpack_files(table) == [file for file, _ in files]
    assert files_key_info(CLIENT_ID) == data(put, "info")
    key = HKDF(SHA256(), 32, salt, data(put, "info")).derive(SECRET)
    assert key == data(put, "key")
    content = b"".join(plain for _, plain in files)
    assert AESGCM(key).decrypt(FILES_NONCE, sealed, table) == content
    assert len(sealed) == sealed_bytes(file for file, _ in files)
    assert is_message(Put(salt, table, sealed), 10, data(put, "message"))


def test_what_became_of_them() -> None:
    receipt, files = VECTORS["receipt"], small_files()
    bodies = ReceiptBodies(data(receipt, "receipt key"), CLIENT_ID, NAME)
    first, _, third = (bodies.pack(file, receipt["received"]) for file, _ in files)
    assert first == data(receipt, "body")
    signature = data(receipt, "signature")
    stored = Stored.unpack(data(receipt, "stored")[11:])
    assert pack_receipts([first], MerkleTree([first]), signature) == [stored.pack()]
    key = Ed25519PrivateKey.from_private_bytes(data(receipt, "seed"))
    before = Stored(third, 0, 1, (), key.sign(signed_bytes(1, leaf_hash(third))))
    told: list[Outcome] = [None, Refused(Reason.QUOTA, 0, "full"), before]
    table = pack_outcomes(told)
    assert unpack_outcomes(table, 3) == told
    outcomes = Outcomes(receipt["received"], signature, table)
    assert is_message(outcomes, 10, data(receipt, "outcomes"))


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


def test_a_data_connection_is_asked_for_and_opened() -> None:
    connection = VECTORS["data connection"]
    ticket, messages = data(connection, "ticket"), connection["messages"]
    assert data(connection, "preface") == DATA_PREFACE
    assert data(connection, "first 48") == DATA_PREFACE + ticket
    assert is_message(Attach(), 12, data(messages, "attach"))
    assert is_message(Ticket(ticket), 12, data(messages, "ticket"))
    assert is_message(Done(), 0, data(messages, "done"))


def test_the_receipt_is_signed_by_the_receipt_key() -> None:
    receipt, put = VECTORS["receipt"], VECTORS["put"]
    key = Ed25519PrivateKey.from_private_bytes(data(receipt, "seed"))
    assert key.public_key() == receipt_key()
    content = data(put, "content")
    body = ReceiptBody(
        data(receipt, "receipt key"),
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
    signed, signature = data(receipt, "signed"), data(receipt, "signature")
    assert signed_bytes(1, leaf_hash(body.pack())) == signed
    assert key.sign(signed) == signature
    receipt_key().verify(signature, signed)
    for other in (body.pack(), signed_bytes(1, leaf_hash(body.pack() + b"\0")), signed + b"\0"):
        with pytest.raises(InvalidSignature):
            receipt_key().verify(signature, other)
    assert is_message(Stored(body.pack(), 0, 1, (), signature), 10, data(receipt, "stored"))


def batch() -> list[bytes]:
    """The bodies whose leaf hashes stand in the file."""
    bodies = []
    for number in range(len(VECTORS["batch"]["leaf hashes"])):
        upload_id = bytes((number + place) % 256 for place in range(16))
        digest = hashlib.sha256(content(number)).digest()
        received, name = VECTORS["receipt"]["received"], f"batch/{number:03}"
        body = ReceiptBody(
            receipt_key().public_bytes_raw(),
            CLIENT_ID,
            upload_id,
            number,
            received,
            digest,
            NAME,
            name,
        )
        bodies.append(body.pack())
    return bodies


def test_the_leaves_of_a_batch_are_hashed() -> None:
    assert [leaf_hash(body).hex() for body in batch()] == VECTORS["batch"]["leaf hashes"]


@every_tree
def test_a_batch_has_one_root_and_one_signature(tree: dict[str, Any]) -> None:
    count, signature = tree["count"], data(tree, "signature")
    root = MerkleTree(batch()[:count]).root
    assert root == data(tree, "root")
    assert signed_bytes(count, root) == data(tree, "signed")
    receipt_key().verify(signature, data(tree, "signed"))
    with pytest.raises(InvalidSignature):
        receipt_key().verify(signature, signed_bytes(count + 1, root))


@every_tree
def test_every_receipt_of_a_batch_leads_to_the_root(tree: dict[str, Any]) -> None:
    bodies, count = batch(), tree["count"]
    merkle_tree = MerkleTree(bodies[:count])
    assert tree["receipts"]
    for receipt in tree["receipts"]:
        index = receipt["index"]
        path = tuple(bytes.fromhex(step) for step in receipt["path"])
        assert merkle_tree.path(index) == path
        assert root_from(bodies[index], index, count, path) == data(tree, "root")
        stored = Stored(bodies[index], index, count, path, data(tree, "signature"))
        assert is_message(stored, 100 + index, data(receipt, "stored"))


def test_trees_of_these_sizes_are_among_them() -> None:
    assert [tree["count"] for tree in TREES] == [1, 2, 3, 5, 7, 8, 256]
    for tree in TREES:
        shown = [receipt["index"] for receipt in tree["receipts"]]
        assert shown[0] == 0
        assert shown[-1] == tree["count"] - 1
        if tree["count"] < 256:
            assert shown == list(range(tree["count"]))

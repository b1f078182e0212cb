"""The client's cryptography against the vectors, which another library has computed."""

import json
from pathlib import Path
from typing import Any

import pytest
from Crypto.Cipher import PKCS1_OAEP
from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA

from client.errors import BrokenProtocol, ChallengeNotOpened, ContentTampered
from client.receipts import verify_receipt
from client.sealing4 import ContentKey, open_challenge, seal_files
from protocol.contexts import Direction, challenge_context

HERE = Path(__file__).parents[1] / "vectors"
VECTORS: dict[str, Any] = json.loads((HERE / "protocol4.json").read_text())
SECRET, CLIENT_ID, FINGERPRINT = (
    bytes.fromhex(VECTORS[name]) for name in ("secret", "client id", "fingerprint")
)


@pytest.fixture(scope="module")
def key() -> bytes:
    return (HERE / "protocol4_client_key.pem").read_bytes()


def test_the_challenge_opens_and_is_proved(key: bytes) -> None:
    connect = VECTORS["connect"]
    sealed = bytes.fromhex(connect["encrypted secret"])

    secret, proof = open_challenge(key, sealed, FINGERPRINT, CLIENT_ID)

    assert secret == SECRET
    assert proof == bytes.fromhex(connect["proof"])
    for fingerprint, client_id in ((bytes(32), CLIENT_ID), (FINGERPRINT, bytes(16))):
        with pytest.raises(ChallengeNotOpened):
            open_challenge(key, sealed, fingerprint, client_id)


def test_a_secret_of_another_size_is_refused(key: bytes) -> None:
    label = challenge_context(FINGERPRINT, CLIENT_ID)
    sealed = PKCS1_OAEP.new(RSA.import_key(key), hashAlgo=SHA256, label=label).encrypt(bytes(31))

    with pytest.raises(BrokenProtocol):
        open_challenge(key, sealed, FINGERPRINT, CLIENT_ID)


def test_small_files_are_sealed_as_in_the_vectors() -> None:
    put = VECTORS["put"]
    content = b"".join(bytes.fromhex(file["content"]) for file in (put, *put["others"]))
    salt, table = bytes.fromhex(put["salt"]), bytes.fromhex(put["table"])

    sealed = seal_files(SECRET, salt, CLIENT_ID, table, content)

    assert sealed == bytes.fromhex(put["sealed"])


def test_what_was_sealed_opens_only_where_it_belongs() -> None:
    sealer = ContentKey(SECRET, bytes(32), Direction.TO_CLIENT, CLIENT_ID, bytes(16))
    sealed = bytes(sealer.seal(memoryview(bytearray(b"content" + bytes(16))), 7, 3, final=False))
    output = memoryview(bytearray(100))

    assert bytes(sealer.open(sealed, 3, output, final=False)) == b"content"
    for index, final in ((3, True), (2, False)):
        with pytest.raises(ContentTampered):
            sealer.open(sealed, index, output, final=final)
    for other in (
        ContentKey(SECRET, bytes(32), Direction.TO_SERVER, CLIENT_ID, bytes(16)),
        ContentKey(SECRET, b"\1" * 32, Direction.TO_CLIENT, CLIENT_ID, bytes(16)),
        ContentKey(SECRET, bytes(32), Direction.TO_CLIENT, bytes(16), bytes(16)),
    ):
        with pytest.raises(ContentTampered):
            other.open(sealed, 3, output, final=False)


def test_the_receipt_of_the_vectors_verifies() -> None:
    receipt = VECTORS["receipt"]
    payload = bytes.fromhex(receipt["stored"])[11:]  # behind the message's header

    body = verify_receipt(payload, [bytes.fromhex(receipt["receipt key"])])

    assert body.pack() == bytes.fromhex(receipt["body"])

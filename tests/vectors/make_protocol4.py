"""Makes protocol4.json: every byte that protocol 4 computes, for one client and a few files.

From docs/protocol-4.md, `hashlib`, `struct` and pycryptodome; nothing of the product, whose own
library for protocol 4 is another one. Only OAEP is random: its ciphertext is taken over from the
file that is there while it still opens.

    python -m tests.vectors.make_protocol4
"""

import hashlib
import hmac
import json
import struct
from collections.abc import Sequence
from pathlib import Path

from Crypto.Cipher import AES, oaep
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import eddsa

from tests.peer4 import merkle

HERE = Path(__file__).resolve().parent
FILE = HERE / "protocol4.json"
CLIENT_KEY_FILE = HERE / "protocol4_client_key.pem"

SEGMENT = 1_048_576
TO_SERVER, TO_CLIENT = 1, 2


def _numbered(first: int, size: int) -> bytes:
    return bytes((first + place) % 256 for place in range(size))


CLIENT_ID = _numbered(0x00, 16)
FINGERPRINT = _numbered(0x20, 32)
SECRET = _numbered(0x40, 32)
RECEIPT_SEED = _numbered(0x60, 32)
CLIENT_NAME = "Miriam \u05db\u05d4\u05df"
MODIFIED = -1_500_000_000
RECEIVED = 1_735_689_600
# name -> upload id, salt, size, file name
UPLOADS: dict[str, tuple[bytes, bytes, int, str]] = {
    "two segments": (_numbered(0x80, 16), _numbered(0x90, 32), SEGMENT + 100, "a/two.bin"),
    "one full segment": (_numbered(0x81, 16), _numbered(0x91, 32), SEGMENT, "a/full.bin"),
    "empty": (_numbered(0x82, 16), _numbered(0x92, 32), 0, "empty"),
}
PUT_ID, PUT_SALT, PUT_NAME = _numbered(0x83, 16), _numbered(0x93, 32), "notes/\u05d0.txt"
PUT_CONTENT = b"attack at dawn\n"
# Beside it in the same message: an empty one, which is refused, and one that was stored before.
OTHERS = ((_numbered(0x84, 16), "notes/empty", b""), (_numbered(0x85, 16), "b", b"bb"))
GET_SALT = _numbered(0x94, 32)
TICKET = _numbered(0xA0, 32)
# how many receipts share a signature -> which of them stand in the file
TREES: dict[int, Sequence[int]] = {
    1: range(1), 2: range(2), 3: range(3), 5: range(5), 7: range(7), 8: range(8),
    256: (0, 1, 2, 127, 128, 254, 255),
}  # fmt: skip


def content(size: int) -> bytes:
    """The first `size` bytes of SHAKE-256 of a short text."""
    return hashlib.shake_256(b"eft/4 test content").digest(size)


def challenge_context() -> bytes:
    """Section 3.2, 1."""
    return b"eft/4 connect" + b"\0" + FINGERPRINT + CLIENT_ID


def key_info(direction: int, upload_id: bytes) -> bytes:
    """Section 4: HKDF's info."""
    return b"eft/4 content" + b"\0" + bytes([direction]) + CLIENT_ID + upload_id


def content_key(direction: int, salt: bytes, upload_id: bytes) -> bytes:
    """Section 4: the key of one content."""
    info = key_info(direction, upload_id)
    return HKDF(SECRET, 32, salt, SHA256, context=info)


def nonce(index: int, final: bool) -> bytes:
    """Section 4."""
    return index.to_bytes(11, "big") + (b"\1" if final else b"\0")


def associated_data(upload_id: bytes, index: int) -> bytes:
    """Section 4."""
    return upload_id + struct.pack("<Q", index)


def text(value: str) -> bytes:
    """A text field."""
    data = value.encode()
    return struct.pack("<H", len(data)) + data


def message(code: int, request_id: int, payload: bytes) -> str:
    """Section 2: a whole message in hex."""
    return (struct.pack("<BHII", 4, code, request_id, len(payload)) + payload).hex()


def challenge(key: RSA.RsaKey) -> bytes:
    """The ciphertext of the file that is there, or a new one where there is none that opens."""
    cipher = oaep.new(key, hashmod=SHA256, label=challenge_context())
    if FILE.exists():
        known = bytes.fromhex(json.loads(FILE.read_text())["connect"]["encrypted secret"])
        try:
            if cipher.decrypt(known) == SECRET:
                return known
        except ValueError:
            pass
    return cipher.encrypt(SECRET)


def connect(key: RSA.RsaKey, receipt_key: bytes) -> dict[str, object]:
    """Sections 3.1 and 3.2."""
    public = key.public_key().export_key("DER")
    encrypted = challenge(key)
    proof = hmac.digest(SECRET, challenge_context(), "sha256")
    register = text(CLIENT_NAME) + text("") + struct.pack("<H", len(public)) + public
    return {
        "context": challenge_context().hex(),
        "encrypted secret": encrypted.hex(),
        "proof": proof.hex(),
        "messages": {
            "register": message(1, 1, register),
            "registered": message(32769, 1, CLIENT_ID),
            "connect": message(2, 2, CLIENT_ID),
            "challenge": message(32770, 2, struct.pack("<H", len(encrypted)) + encrypted),
            "prove": message(3, 3, proof),
            "connected": message(
                32771, 3, receipt_key + struct.pack("<Q", RECEIVED) + text(CLIENT_NAME)
            ),
        },
    }


def sealed_segments(key: bytes, upload_id: bytes, plain: bytes) -> list[tuple[int, bool, bytes]]:
    """Section 4: index, whether it is the final one, and the sealed bytes of each segment."""
    pieces = [plain[start : start + SEGMENT] for start in range(0, len(plain), SEGMENT)] or [b""]
    sealed = []
    for index, piece in enumerate(pieces):
        final = index == len(pieces) - 1
        cipher = AES.new(key, AES.MODE_GCM, nonce=nonce(index, final))
        cipher.update(associated_data(upload_id, index))
        sealed.append((index, final, b"".join(cipher.encrypt_and_digest(piece))))
    return sealed


def shown(data: bytes) -> dict[str, object]:
    """Sealed bytes as they stand in the file: whole when they are few."""
    if len(data) <= 1024:
        return {"size": len(data), "sealed": data.hex()}
    return {
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "first 32": data[:32].hex(),
        "last 32": data[-32:].hex(),
    }


def upload(name: str) -> dict[str, object]:
    """Section 5: one upload by *begin*, *segment*, *end*."""
    upload_id, salt, size, file_name = UPLOADS[name]
    key = content_key(TO_SERVER, salt, upload_id)
    plain = content(size)
    digest = hashlib.sha256(plain).digest()
    begin = upload_id + salt + struct.pack("<QqHB", size, MODIFIED, 0o640, 1) + text(file_name)
    segments = []
    for index, final, data in sealed_segments(key, upload_id, plain):
        payload = upload_id + struct.pack("<QB", index, final) + data
        whole = {"message": message(17, 5 + index, payload)} if len(data) <= 1024 else {}
        segments.append(
            {
                "index": index,
                "final": final,
                "nonce": nonce(index, final).hex(),
                "associated data": associated_data(upload_id, index).hex(),
                **shown(data),
                **whole,
            }
        )
    return {
        "name": name,
        "upload id": upload_id.hex(),
        "salt": salt.hex(),
        "size": size,
        "file name": file_name,
        "sha256": digest.hex(),
        "info": key_info(TO_SERVER, upload_id).hex(),
        "key": key.hex(),
        "begin": message(16, 4, begin),
        "begun": message(32784, 4, struct.pack("<Q", 0)),
        "segments": segments,
        "end": message(18, 9, upload_id + struct.pack("<Q", size) + digest),
    }


def put() -> dict[str, object]:
    """Section 5.2: three small files in one message."""
    info = b"eft/4 files" + b"\0" + CLIENT_ID
    key = HKDF(SECRET, 32, PUT_SALT, SHA256, context=info)
    files = ((PUT_ID, PUT_NAME, PUT_CONTENT), *OTHERS)
    table = b"".join(
        upload_id
        + struct.pack("<IqHB", len(plain), MODIFIED, 0o600, 2)
        + hashlib.sha256(plain).digest()
        + text(name)
        for upload_id, name, plain in files
    )
    cipher = AES.new(key, AES.MODE_GCM, nonce=bytes(12))
    cipher.update(table)
    plain = b"".join(content for *_, content in files)
    sealed = b"".join(cipher.encrypt_and_digest(plain))
    fixed = PUT_SALT + struct.pack("<H", len(table)) + table
    return {
        "upload id": PUT_ID.hex(),
        "salt": PUT_SALT.hex(),
        "file name": PUT_NAME,
        "content": PUT_CONTENT.hex(),
        "others": [
            {"upload id": upload_id.hex(), "file name": name, "content": plain.hex()}
            for upload_id, name, plain in OTHERS
        ],
        "info": info.hex(),
        "key": key.hex(),
        "table": table.hex(),
        "sealed": sealed.hex(),
        "message": message(19, 10, fixed + sealed),
    }


def get() -> dict[str, object]:
    """Section 6: the second segment of the first upload, fetched back."""
    upload_id, _, size, file_name = UPLOADS["two segments"]
    key = content_key(TO_CLIENT, GET_SALT, upload_id)
    plain = content(size)
    index, final, sealed = sealed_segments(key, upload_id, plain)[1]
    digest = hashlib.sha256(plain).digest()
    entry = upload_id + struct.pack("<QqHqB", size, MODIFIED, 0o640, RECEIVED, 1) + digest
    entry += struct.pack("<IB", 0, 0) + text(file_name)
    return {
        "salt": GET_SALT.hex(),
        "info": key_info(TO_CLIENT, upload_id).hex(),
        "key": key.hex(),
        "sealed": sealed.hex(),
        "get": message(34, 11, GET_SALT + struct.pack("<Q", SEGMENT) + text(file_name)),
        "entry": message(32801, 11, entry),
        "content": message(32802, 11, struct.pack("<QB", index, final) + sealed),
    }


def data_connection() -> dict[str, object]:
    """Section 1.2: how a data connection is asked for and opened."""
    preface = b"EFT/4 data" + bytes(6)
    return {
        "ticket": TICKET.hex(),
        "preface": preface.hex(),
        "first 48": (preface + TICKET).hex(),
        "messages": {
            "attach": message(21, 12, b""),
            "ticket": message(32789, 12, TICKET),
            "done": message(32803, 0, b""),
        },
    }


def body(receipt_key: bytes, upload_id: bytes, plain: bytes, file_name: str) -> bytes:
    """Section 7: what a receipt says."""
    said = b"EFT receipt 1\0" + receipt_key + CLIENT_ID + upload_id
    said += struct.pack("<Qq", len(plain), RECEIVED)
    return said + hashlib.sha256(plain).digest() + text(CLIENT_NAME) + text(file_name)


def signed(count: int, root: bytes) -> bytes:
    """Section 7: what a signature covers."""
    return b"eft/4 receipts" + b"\0" + struct.pack("<H", count) + root


def stored(leaf: bytes, index: int, count: int, path: Sequence[bytes], signature: bytes) -> bytes:
    """Section 7: the payload of *stored*."""
    payload = struct.pack("<H", len(leaf)) + leaf + struct.pack("<HHB", index, count, len(path))
    return payload + b"".join(path) + signature


def outcomes(key: ECC.EccKey, receipt_key: bytes, signature: bytes) -> bytes:
    """Section 5.2: the first file of the *put* is stored, the second refused (*quota*), and the
    third was stored before."""
    upload_id, name, plain = OTHERS[1]
    said = body(receipt_key, upload_id, plain, name)
    earlier = eddsa.new(key, "rfc8032").sign(signed(1, merkle.root([said])))
    before = stored(said, 0, 1, [], earlier)
    payload = struct.pack("<q", RECEIVED) + signature + b"\0"
    payload += b"\2" + struct.pack("<HI", 8, 0) + text("full")
    return payload + b"\1" + struct.pack("<H", len(before)) + before


def receipt(key: ECC.EccKey, receipt_key: bytes) -> dict[str, object]:
    """Section 7: the receipt of the *put*, on its own."""
    said = body(receipt_key, PUT_ID, PUT_CONTENT, PUT_NAME)
    covered = signed(1, merkle.root([said]))
    signature = eddsa.new(key, "rfc8032").sign(covered)
    return {
        "seed": RECEIPT_SEED.hex(),
        "receipt key": receipt_key.hex(),
        "received": RECEIVED,
        "body": said.hex(),
        "signed": covered.hex(),
        "signature": signature.hex(),
        "stored": message(32786, 10, stored(said, 0, 1, [], signature)),
        "outcomes": message(32787, 10, outcomes(key, receipt_key, signature)),
    }


def tree(key: ECC.EccKey, leaves: Sequence[bytes], shown_ones: Sequence[int]) -> dict[str, object]:
    """Section 7: receipts that share one signature."""
    count = len(leaves)
    covered = signed(count, merkle.root(leaves))
    signature = eddsa.new(key, "rfc8032").sign(covered)
    receipts = []
    for index in shown_ones:
        path = merkle.path(index, leaves)
        payload = stored(leaves[index], index, count, path, signature)
        receipts.append(
            {
                "index": index,
                "path": [step.hex() for step in path],
                "stored": message(32786, 100 + index, payload),
            }
        )
    return {
        "count": count,
        "root": merkle.root(leaves).hex(),
        "signed": covered.hex(),
        "signature": signature.hex(),
        "receipts": receipts,
    }


def batch(key: ECC.EccKey, receipt_key: bytes) -> dict[str, object]:
    """Section 7: the receipts of the first files of a batch, for several sizes of it."""
    leaves = [
        body(receipt_key, _numbered(number, 16), content(number), f"batch/{number:03}")
        for number in range(max(TREES))
    ]
    return {
        "files": "number n: upload id n, n + 1, ... mod 256; the first n bytes of the content",
        "leaf hashes": [merkle.leaf(leaf).hex() for leaf in leaves],
        "trees": [tree(key, leaves[:count], TREES[count]) for count in TREES],
    }


def vectors() -> dict[str, object]:
    """All of the file."""
    client_key = RSA.import_key(CLIENT_KEY_FILE.read_bytes())
    signing_key = eddsa.import_private_key(RECEIPT_SEED)
    receipt_key = signing_key.public_key().export_key(format="raw")
    return {
        "content": "the first bytes of SHAKE-256 of the 18 bytes 'eft/4 test content'",
        "client id": CLIENT_ID.hex(),
        "client name": CLIENT_NAME,
        "fingerprint": FINGERPRINT.hex(),
        "secret": SECRET.hex(),
        "modified": MODIFIED,
        "connect": connect(client_key, receipt_key),
        "data connection": data_connection(),
        "uploads": [upload(name) for name in UPLOADS],
        "put": put(),
        "get": get(),
        "receipt": receipt(signing_key, receipt_key),
        "batch": batch(signing_key, receipt_key),
    }


def as_text() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(as_text())

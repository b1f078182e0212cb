"""Receipts as files: damaged, forged, or signed and saying strange things."""

from collections.abc import Iterable
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.errors import BadReceipt
from client.receipts import read_receipts, verify_receipt
from protocol.errors import ProtocolError
from protocol.merkle import MerkleTree, root_from
from protocol.receipts import ReceiptBody, signed_bytes
from protocol.responses4 import Stored
from tests.fuzz import scratch
from tests.fuzz.choices import Choices
from tests.fuzz.drawing import Material, payload
from tests.fuzz.target import Target, must

_FILE, _SIGNED = 0, 1


@cache
def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@cache
def _public() -> bytes:
    return _key().public_key().public_bytes_raw()


class _Ours(Material):
    def value(self, name: str, size: int | None, choices: Choices) -> bytes | None:
        return _public() if name == "receipt_key" else None


def _run(data: bytes) -> None:
    choices = Choices(data)
    packed = _forged(choices) if choices.byte() % 2 == _SIGNED else choices.rest()
    _read_file(packed)
    try:
        body_read = verify_receipt(packed, (_public(),))
    except BadReceipt as error:
        must("\n" not in str(error), "an error is one line")
        return
    must(_signed(packed), "only what our key has signed is a receipt")
    must(body_read.receipt_key == _public(), "a receipt names the key that signed it")
    must(Stored.unpack(packed).body == body_read.pack(), "a receipt says what was signed")


def _read_file(data: bytes) -> None:
    """As a file of receipts: all of it is read, but for a last one that is cut off."""
    path = scratch.directory("receipts") / "file"
    path.write_bytes(data)
    try:
        found = read_receipts(path)
    except BadReceipt as error:
        must("\n" not in str(error), "an error is one line")
        return
    must(found and all(found), "a file of receipts holds some, and no empty one")
    joined = b"".join(len(one).to_bytes(4, "little") + one for one in found)
    must(data.startswith(joined), "receipts are read as they stand there")
    rest = data[len(joined) :]
    size = int.from_bytes(rest[:4], "little")
    must(len(rest) <= 4 or not size or len(rest) < 4 + size, "no whole receipt is passed over")


def _forged(choices: Choices) -> bytes:
    """A receipt of which all but what it says is right, now and then with another place."""
    count = 1 + choices.byte() % 5
    index = choices.byte() % count
    bodies = [payload(ReceiptBody, choices, _Ours())[:60_000]] + [b"other"] * (count - 1)
    bodies[0], bodies[index] = bodies[index], bodies[0]
    told = index if choices.byte() < 200 else choices.byte() % 6
    return _stored(bodies, index, told).pack()


def _stored(bodies: list[bytes], index: int, told: int) -> Stored:
    tree = MerkleTree(bodies)
    signature = _key().sign(signed_bytes(len(bodies), tree.root))
    return Stored(bodies[index], told, len(bodies), tree.path(index), signature)


def _signed(packed: bytes) -> bool:
    try:
        stored = Stored.unpack(packed)
        root = root_from(stored.body, stored.index, stored.count, stored.path)
        _key().public_key().verify(stored.signature, signed_bytes(stored.count, root))
    except (ProtocolError, InvalidSignature):
        return False
    return True


def _seeds() -> Iterable[bytes]:
    for fill in (0, 1, 4, 40):
        yield bytes((_SIGNED,)) + bytes((fill,)) * 200
    body = ReceiptBody(_public(), bytes(16), bytes(16), 7, 8, bytes(32), "alice", "a").pack()
    good = _stored([b"other", body, b"another"], 1, 1).pack()
    yield bytes((_FILE,)) + good
    yield bytes((_FILE,)) + good[:-1] + b"\0"
    yield bytes((_FILE,)) + good[:100]
    framed = len(good).to_bytes(4, "little") + good
    yield bytes((_FILE,)) + framed + framed
    yield bytes((_FILE,)) + framed + framed[:9]


TARGET = Target("receipt_files", "client/receipts.py, protocol/receipts.py", _run, _seeds)

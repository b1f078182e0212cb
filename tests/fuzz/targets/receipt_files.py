"""Receipts as files: damaged, forged, or signed and saying strange things."""

from collections.abc import Iterable
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.errors import BadReceipt
from client.receipts import verify_receipt
from protocol.errors import ProtocolError
from protocol.receipts import ReceiptBody
from protocol.responses4 import Stored
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
    if choices.byte() % 2 == _SIGNED:
        body = payload(ReceiptBody, choices, _Ours())[:65_535]
        packed = Stored(body, _key().sign(body)).pack()
    else:
        packed = choices.rest()
    try:
        body_read = verify_receipt(packed, (_public(),))
    except BadReceipt as error:
        must("\n" not in str(error), "an error is one line")
        return
    must(_signed(packed), "only what our key has signed is a receipt")
    must(body_read.receipt_key == _public(), "a receipt names the key that signed it")
    must(Stored.unpack(packed).body == body_read.pack(), "a receipt says what was signed")


def _signed(packed: bytes) -> bool:
    try:
        stored = Stored.unpack(packed)
        _key().public_key().verify(stored.signature, stored.body)
    except (ProtocolError, InvalidSignature):
        return False
    return True


def _seeds() -> Iterable[bytes]:
    for fill in (0, 1, 4, 40):
        yield bytes((_SIGNED,)) + bytes((fill,)) * 200
    body = ReceiptBody(_public(), bytes(16), bytes(16), 7, 8, bytes(32), "alice", "a").pack()
    good = Stored(body, _key().sign(body)).pack()
    yield bytes((_FILE,)) + good
    yield bytes((_FILE,)) + good[:-1] + b"\0"
    yield bytes((_FILE,)) + good[:100]


TARGET = Target("receipt_files", "client/receipts.py, protocol/receipts.py", _run, _seeds)

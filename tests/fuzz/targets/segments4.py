"""Sealed segments: what one side seals the other opens, and nothing else opens."""

from collections.abc import Iterable

from client.errors import ContentTampered
from client.sealing4 import ContentKey
from protocol.contexts import TAG_BYTES, Direction
from protocol.errors import BadSegment
from server.sealing import SegmentOpener, SegmentSealer, content_key
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must

_SECRET, _SALT, _CLIENT = bytes(range(32)), bytes(range(32, 64)), bytes(16)


def _run(data: bytes) -> None:
    choices = Choices(data)
    upload_id = choices.exactly(16)
    index, final = choices.number(5), bool(choices.byte() % 2)
    place, change, cut = choices.number(2), choices.byte(), choices.byte()
    plain = choices.rest()
    _to_server(upload_id, index, plain, place, change, cut, final=final)
    _to_client(upload_id, index, plain, place, change, cut, final=final)


def _spoilt(sealed: bytes, place: int, change: int, cut: int) -> bytes:
    altered = bytearray(sealed[: max(TAG_BYTES, len(sealed) - cut % 3)])
    altered[place % len(altered)] ^= change
    return bytes(altered)


def _to_server(
    upload_id: bytes, index: int, plain: bytes, place: int, change: int, cut: int, *, final: bool
) -> None:
    buffer = memoryview(bytearray(plain + bytes(TAG_BYTES)))
    ours = ContentKey(_SECRET, _SALT, Direction.TO_SERVER, _CLIENT, upload_id)
    sealed = bytes(ours.seal(buffer, len(plain), index, final=final))
    key = content_key(_SECRET, _SALT, Direction.TO_SERVER, _CLIENT, upload_id)
    output = memoryview(bytearray(len(plain)))
    opener = SegmentOpener(key, upload_id, index)
    opened = opener.open(index, memoryview(sealed), output, final=final)
    must(opened == plain, "the server opens what the client seals")
    must(opener.finished is final and opener.next_index == index + 1, "the next one is due")
    spoilt = _spoilt(sealed, place, change, cut)
    attempt = SegmentOpener(key, upload_id, index)
    try:
        attempt.open(index, memoryview(spoilt), output, final=final)
    except BadSegment:
        must(attempt.next_index == index, "a segment that does not verify does not count")
        return
    must(spoilt == sealed, "nothing else opens")


def _to_client(
    upload_id: bytes, index: int, plain: bytes, place: int, change: int, cut: int, *, final: bool
) -> None:
    key = content_key(_SECRET, _SALT, Direction.TO_CLIENT, _CLIENT, upload_id)
    output = memoryview(bytearray(len(plain) + TAG_BYTES))
    sealer = SegmentSealer(key, upload_id)
    sealed = bytes(sealer.seal(index, memoryview(plain), output, final=final))
    ours = ContentKey(_SECRET, _SALT, Direction.TO_CLIENT, _CLIENT, upload_id)
    must(ours.open(sealed, index, output, final=final) == plain, "the client opens it")
    spoilt = _spoilt(sealed, place, change, cut)
    try:
        ours.open(spoilt, index, output, final=final)
    except ContentTampered:
        return
    must(spoilt == sealed, "nothing else opens")


def _seeds() -> Iterable[bytes]:
    yield bytes(26)
    yield bytes(range(26)) + b"content" * 9
    yield b"\xff" * 26 + b"x" * 300


TARGET = Target("segments4", "server/sealing.py, client/sealing4.py", _run, _seeds, max_bytes=600)

"""Places and sizes of segments, and the byte strings that protocol 4's cryptography covers."""

from collections.abc import Iterable

from protocol.contexts import (
    MAX_CONTENT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Direction,
    associated_data,
    challenge_context,
    check_segment_size,
    content_key_info,
    segment_count,
    segment_nonce,
    segment_span,
)
from protocol.errors import BadSegment
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must


def _spans(size: int, index: int) -> None:
    try:
        count = segment_count(size)
    except ValueError:
        must(not 0 <= size <= MAX_CONTENT_BYTES, "every size that content has is counted")
        return
    must((count - 1) * SEGMENT_BYTES < max(size, 1) <= count * SEGMENT_BYTES, "segments cover it")
    place = index % count
    start, end = segment_span(place, size)
    must(start == place * SEGMENT_BYTES and end <= size, "a segment lies within its content")
    check_segment_size(place, end - start + TAG_BYTES, final=place == count - 1)


def _sizes(index: int, sealed: int, *, final: bool) -> None:
    try:
        check_segment_size(index, sealed, final=final)
    except BadSegment:
        return
    plain = sealed - TAG_BYTES
    must(0 <= plain <= SEGMENT_BYTES, "a segment has at most 1 MiB")
    must(final or plain == SEGMENT_BYTES, "only the final segment is short")
    must(plain or (final and index == 0), "only empty content has an empty segment")
    must(index * SEGMENT_BYTES + plain <= MAX_CONTENT_BYTES, "content ends at 2^63 - 1")


def _contexts(first: bytes, second: bytes, index: int, other: int) -> None:
    try:
        texts = [
            challenge_context(first, second), content_key_info(Direction.TO_SERVER, second, second),
            content_key_info(Direction.TO_CLIENT, second, second), associated_data(second, index),
        ]  # fmt: skip
    except ValueError:
        possible = 0 <= index <= MAX_CONTENT_BYTES // SEGMENT_BYTES
        must((len(first), len(second)) != (32, 16) or not possible, "right sizes are accepted")
        return
    must(len(set(texts)) == len(texts), "no two contexts are the same")
    nonces = {segment_nonce(index, final=final) for final in (True, False)}
    if other != index and 0 <= other <= MAX_CONTENT_BYTES // SEGMENT_BYTES:
        nonces |= {segment_nonce(other, final=final) for final in (True, False)}
        must(len(nonces) == 4, "no nonce is used twice")


def _run(data: bytes) -> None:
    choices = Choices(data)
    size, index, other = choices.number(8), choices.number(6), choices.number(6)
    _spans(size - choices.byte(), index)
    _sizes(index, choices.number(3), final=bool(choices.byte() % 2))
    _contexts(choices.take(31 + choices.byte() % 3), choices.take(15 + choices.byte() % 3),
              index, other)  # fmt: skip


def _seeds() -> Iterable[bytes]:
    yield bytes(200)
    yield b"\xff" * 200
    yield SEGMENT_BYTES.to_bytes(8, "little") + bytes(17) + b"\1" * 60
    yield (2**63).to_bytes(8, "little") + bytes((*[0xFF] * 5, 7)) + bytes(60)


TARGET = Target("contexts", "protocol/contexts.py", _run, _seeds, max_bytes=200)

"""The checksum, against the system's own `cksum` command."""

import random
import subprocess
from collections.abc import Callable

import fastcrc.crc32
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cksum import Cksum
from tests.protocol import strategies

LENGTHS = [0, 1, 2, 3, *range(55, 66), 127, 128, *range(255, 258), 4095, 4096, *range(65535, 65538)]
LENGTHS += [69999, 70000, 131071, 131072, 131073, 2**24 - 1, 2**24, 2**24 + 1]
KINDS = [bytes, bytearray, memoryview]


def of_the_command(content: bytes) -> int:
    printed = subprocess.run(["cksum"], input=content, capture_output=True, check=True, timeout=20)
    return int(printed.stdout.split()[0])


def cksum(*pieces: bytes) -> Cksum:
    running = Cksum()
    for piece in pieces:
        running.update(piece)
    return running


def random_bytes(size: int) -> bytes:
    """Random content; of more than 70000 bytes, a random piece repeated."""
    piece = random.Random(size).randbytes(min(size, 70000))
    return (piece * (size // len(piece) + 1))[:size] if piece else b""


def test_it_has_the_published_value() -> None:
    assert cksum(b"123456789").value == 930766865


def test_nothing_has_the_complement_of_zero() -> None:
    assert Cksum().value == 4294967295


@pytest.mark.parametrize("size", LENGTHS)
def test_random_content_has_the_value_of_the_command(size: int) -> None:
    content = random_bytes(size)
    assert cksum(content).value == of_the_command(content)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
@pytest.mark.parametrize("size", [1, 4, 255, 256, 70000])
def test_uniform_content_has_the_value_of_the_command(byte: bytes, size: int) -> None:
    assert cksum(byte * size).value == of_the_command(byte * size)


def test_a_repeated_piece_has_the_value_of_the_whole() -> None:
    piece = random_bytes(70000)
    assert cksum(*[piece] * 250).value == of_the_command(piece * 250)


@strategies.some
@given(st.binary(max_size=2000), strategies.cuts)
def test_pieces_have_the_value_of_the_whole(content: bytes, cuts: list[int]) -> None:
    assert cksum(*strategies.cut(content, cuts)).value == cksum(content).value


@strategies.some
@given(strategies.cuts)
def test_large_pieces_have_the_value_of_the_whole(cuts: list[int]) -> None:
    content = random_bytes(65537)
    assert cksum(*strategies.cut(content, cuts)).value == cksum(content).value


def test_single_bytes_have_the_value_of_the_whole() -> None:
    content = random_bytes(1000)
    assert cksum(*strategies.byte_by_byte(content)).value == of_the_command(content)


@strategies.some
@given(st.binary(max_size=300))
def test_it_has_the_value_of_the_definition(content: bytes) -> None:
    """Bit by bit, as POSIX describes it."""
    length = []
    size = len(content)
    while size:
        length.append(size & 0xFF)
        size >>= 8
    register = 0
    for byte in [*content, *length]:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x104C11DB7 if register & 0x80000000 else 0)
    assert cksum(content).value == register ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200000])
def test_its_size_is_what_was_added(size: int) -> None:
    assert cksum(bytes(size), b"123").size == size + 3


def test_asking_for_the_value_changes_nothing() -> None:
    running = cksum(b"12345")
    assert running.value == of_the_command(b"12345")
    running.update(b"6789")
    assert [running.value, running.value] == [930766865, 930766865]


@pytest.mark.parametrize("kind", KINDS)
def test_content_may_be_of_any_kind_of_bytes(
    kind: Callable[[bytes], bytes | bytearray | memoryview],
) -> None:
    running = Cksum()
    running.update(kind(b"123456789"))
    assert running.value == 930766865


def test_a_part_of_a_buffer_counts_alone() -> None:
    running = Cksum()
    running.update(memoryview(b"xx123456789yy")[2:-2])
    assert running.value == 930766865


def test_a_buffer_is_let_go_after_the_update() -> None:
    buffer = bytearray(b"123456789")
    Cksum().update(buffer)
    buffer.clear()  # BufferError while a view of it is open
    assert not buffer


def test_a_view_can_still_be_used_after_the_update() -> None:
    view = memoryview(b"123456789")
    Cksum().update(view)
    assert view[0] == ord("1")


def test_two_of_them_do_not_meet() -> None:
    one, other = Cksum(), Cksum()
    one.update(b"123456789")
    other.update(b"x")
    assert one.value == 930766865


def test_it_holds_nothing_but_its_state() -> None:
    assert not hasattr(Cksum(), "__dict__")


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_the_quick_chain_of_the_programs_has_the_same_values(pieces: list[bytes]) -> None:
    quick = Cksum(fastcrc.crc32.cksum)
    for piece in pieces:
        quick.update(memoryview(piece))
    assert (quick.value, quick.size) == (cksum(*pieces).value, sum(map(len, pieces)))

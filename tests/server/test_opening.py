"""Opening content piece by piece gives what an independent AES-CBC with PKCS#7 gives."""

import ctypes
import itertools
import mmap
import random
import subprocess

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import UndecipherableContent
from server.opening import BLOCK_BYTES, ContentOpener
from tests.peer import crypto

KEYS = [bytes(range(16)), bytes(range(32))]
KEY = KEYS[0]


def _opened(key: bytes, pieces: list[bytes], piece_bytes: int | None = None) -> bytes:
    opener = ContentOpener(key, piece_bytes or 64)
    plain = b"".join(_given_out(opener, piece) for piece in pieces)
    return plain + bytes(opener.finish())


def _given_out(opener: ContentOpener, piece: bytes | memoryview) -> bytes:
    return b"".join(bytes(plain) for plain in opener.open(memoryview(piece)))


def _sealed_as_it_is(padded: bytes) -> bytes:
    """A ciphertext whose padding is whatever `padded` ends in."""
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _is_deciphered(ciphertext: bytes) -> bool:
    try:
        _opened(KEY, [ciphertext])
    except UndecipherableContent:
        return False
    return True


@pytest.mark.parametrize("key", KEYS, ids=["AES-128", "AES-256"])
@pytest.mark.parametrize("size", range(101))
def test_content_of_any_length_opens_in_one_piece(key: bytes, size: int) -> None:
    plain = random.Random(size).randbytes(size)
    assert _opened(key, [crypto.encrypt(key, plain)]) == plain


@pytest.mark.parametrize("size", range(101))
def test_content_of_any_length_opens_byte_by_byte(size: int) -> None:
    plain = random.Random(size).randbytes(size)
    assert _opened(KEY, _cut(crypto.encrypt(KEY, plain), 1)) == plain


@pytest.mark.parametrize("piece_bytes", [16, 32, 64, 4096])
@pytest.mark.parametrize("size", range(1, 50))
def test_content_opens_in_pieces_of_any_size(size: int, piece_bytes: int) -> None:
    plain = random.Random(size).randbytes(500)
    assert _opened(KEY, _cut(crypto.encrypt(KEY, plain), size), piece_bytes) == plain


@settings(max_examples=200)
@given(plain=st.binary(max_size=300), cuts=st.lists(st.integers(0, 320), max_size=12))
def test_content_opens_however_it_is_cut(plain: bytes, cuts: list[int]) -> None:
    ciphertext = crypto.encrypt(KEY, plain)
    edges = sorted({0, len(ciphertext), *(cut for cut in cuts if cut < len(ciphertext))})
    pieces = [ciphertext[a:b] for a, b in itertools.pairwise(edges)]
    assert _opened(KEY, pieces) == plain


def test_empty_pieces_change_nothing() -> None:
    ciphertext = crypto.encrypt(KEY, b"some content of more than a block")
    pieces = [b"", ciphertext[:5], b"", ciphertext[5:32], b"", ciphertext[32:], b""]
    assert _opened(KEY, pieces) == b"some content of more than a block"


@pytest.mark.parametrize("key", KEYS, ids=["aes-128-cbc", "aes-256-cbc"])
def test_what_openssl_sealed_opens(key: bytes) -> None:
    plain = bytes(range(256)) * 10 + b"end"
    command = ["openssl", "enc", f"-aes-{len(key) * 8}-cbc", "-K", key.hex(), "-iv", "0" * 32]
    ciphertext = subprocess.run(command, input=plain, capture_output=True, check=True).stdout
    assert _opened(key, _cut(ciphertext, 100)) == plain


def test_a_large_content_opens_in_the_largest_pieces() -> None:
    plain = random.Random(1).randbytes(1_000_003)
    ciphertext = crypto.encrypt(KEY, plain)
    assert _opened(KEY, _cut(ciphertext, 256 * 1024), 1024 * 1024) == plain
    assert _opened(KEY, _cut(ciphertext, 256 * 1024), 128 * 1024) == plain


def test_pieces_are_as_large_as_asked_for_and_where_the_disk_wants_them() -> None:
    opener = ContentOpener(KEY, 8192)
    offset = 0
    for piece in _cut(crypto.encrypt(KEY, bytes(50_000)), 777):
        for plain in opener.open(memoryview(piece)):
            assert len(plain) == 8192
            assert ctypes.addressof(ctypes.c_char.from_buffer(plain)) % mmap.PAGESIZE == 0
            offset += len(plain)
    assert offset + len(opener.finish()) == 50_000


def test_the_given_piece_is_not_changed() -> None:
    ciphertext = crypto.encrypt(KEY, bytes(100))
    piece = bytearray(ciphertext)
    assert _given_out(ContentOpener(KEY, 64), memoryview(piece)) == bytes(64)
    assert piece == ciphertext


def test_pieces_may_come_in_the_same_buffer() -> None:
    plain = random.Random(2).randbytes(200)
    buffer = bytearray(24)
    opener, opened = ContentOpener(KEY, 32), b""
    for piece in _cut(crypto.encrypt(KEY, plain), len(buffer)):
        buffer[: len(piece)] = piece
        opened += _given_out(opener, memoryview(buffer)[: len(piece)])
        buffer[:] = b"\xff" * len(buffer)
    assert opened + bytes(opener.finish()) == plain


def test_nothing_that_could_be_padding_is_given_out_early() -> None:
    opener = ContentOpener(KEY, 16)
    assert len(_given_out(opener, crypto.encrypt(KEY, bytes(40)))) == 2 * BLOCK_BYTES
    assert len(opener.finish()) == 8


@pytest.mark.parametrize("last", range(256))
def test_only_padding_of_1_to_16_equal_bytes_is_accepted(last: int) -> None:
    # 15 zeros before the last byte: right for 1 alone.
    assert _is_deciphered(_sealed_as_it_is(bytes(31) + bytes([last]))) == (last == 1)


@pytest.mark.parametrize(
    ("size", "position"),
    [(size, position) for size in range(2, BLOCK_BYTES + 1) for position in range(1, size)],
)
def test_padding_with_one_wrong_byte_is_refused(size: int, position: int) -> None:
    padded = bytearray(bytes(48 - size) + bytes([size]) * size)
    padded[-1 - position] ^= 1
    assert not _is_deciphered(_sealed_as_it_is(bytes(padded)))


def test_padding_of_more_than_a_block_is_refused() -> None:
    assert not _is_deciphered(_sealed_as_it_is(bytes([17]) * 48))


@pytest.mark.parametrize("size", [size for size in range(1, 65) if size % BLOCK_BYTES])
def test_content_that_is_no_whole_number_of_blocks_is_refused(size: int) -> None:
    assert not _is_deciphered(crypto.encrypt(KEY, bytes(64))[:size])


@pytest.mark.parametrize("size", range(1, BLOCK_BYTES))
def test_bytes_after_the_last_block_are_refused_even_when_its_padding_is_right(size: int) -> None:
    assert not _is_deciphered(crypto.encrypt(KEY, b"plain") + bytes(size))


def test_content_of_no_block_at_all_is_refused() -> None:
    assert not _is_deciphered(b"")


def test_content_under_another_key_is_refused() -> None:
    assert not _is_deciphered(crypto.encrypt(bytes(16), b"plain"))


def test_wrong_length_and_wrong_padding_are_not_told_apart() -> None:
    said = []
    for ciphertext in (bytes(15), _sealed_as_it_is(bytes(32)), b""):
        with pytest.raises(UndecipherableContent) as caught:
            _opened(KEY, [ciphertext])
        said.append(str(caught.value))
    assert len(set(said)) == 1

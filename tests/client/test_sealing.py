"""The client's cryptography against the protocol's numbers."""

import pytest
from Crypto.Cipher import AES
from Crypto.PublicKey import RSA
from Crypto.Util.Padding import pad

from client.errors import BadIdentity, BadSessionKey
from client.sealing import (
    check_private_key,
    encryptor,
    make_private_key,
    open_session_key,
    public_key_of,
    sealed_size,
)
from protocol.messages3 import PUBLIC_KEY_BYTES
from tests.client.scripted import wrap


def test_a_new_key_fits_the_field_exactly() -> None:
    private_key = make_private_key()

    public_key = public_key_of(private_key)

    assert len(public_key) == PUBLIC_KEY_BYTES
    assert RSA.import_key(public_key).e == 17
    assert RSA.import_key(public_key).size_in_bits() == 1024


def test_a_key_that_does_not_fit_is_not_sent() -> None:
    private_key = RSA.generate(1024, e=65537).export_key("DER", pkcs=8)  # noqa: S505 - the deviation

    with pytest.raises(BadIdentity, match="162 bytes where 160 can be sent"):
        public_key_of(private_key)


@pytest.mark.parametrize("data", [b"", b"\x30", b"nonsense", b"ssh-rsa AAAA", bytes(700)])
def test_what_is_no_private_key_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an RSA key"):
        check_private_key(data)


@pytest.mark.parametrize("key_bytes", [16, 32])
def test_a_sealed_key_opens(private_key: bytes, key_bytes: int) -> None:
    session_key = bytes(range(key_bytes))

    assert open_session_key(private_key, wrap(private_key, session_key), key_bytes) == session_key


@pytest.mark.parametrize("wrapped", [b"x", bytes(128), bytes(127), bytes(129), b"\xff" * 128])
def test_a_sealed_key_that_does_not_open_is_the_servers_fault(
    private_key: bytes, wrapped: bytes
) -> None:
    with pytest.raises(BadSessionKey, match="does not open"):
        open_session_key(private_key, wrapped, 16)


def test_a_key_of_another_generation_is_not_used(private_key: bytes) -> None:
    with pytest.raises(BadSessionKey, match="32 bytes where this generation has 16"):
        open_session_key(private_key, wrap(private_key, bytes(32)), 16)


def test_encryption_in_pieces_and_in_place_is_that_of_the_whole() -> None:
    plain = bytes(range(256)) * 4
    buffer = memoryview(bytearray(plain))
    encryption = encryptor(bytes(16))

    for start in range(0, len(plain), 256):
        piece = buffer[start : start + 256]
        encryption.encrypt(piece, output=piece)

    assert bytes(buffer) == AES.new(bytes(16), AES.MODE_CBC, iv=bytes(16)).encrypt(plain)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32])
def test_sealed_size_is_that_of_the_padded_content(size: int) -> None:
    assert sealed_size(size) == len(pad(bytes(size), 16))

"""The server's key file, and clients' RSA keys as they arrive."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ConfigurationError, Refused
from server.keys import KeyFile, new_aes_key, parse_public_key, wrap_for_client
from tests.peer import crypto

FIELD_BYTES = 160
# AlgorithmIdentifier of rsaEncryption with NULL parameters (RFC 8017, appendix C).
RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
KEY = crypto.make_key()
GOLDEN = crypto.public_der(KEY)


def _element(tag: int, content: bytes) -> bytes:
    """One DER element (X.690, 10.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _integers(*numbers: int) -> bytes:
    return _element(
        0x30, b"".join(_element(2, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in numbers)
    )


def _public_info(modulus: int, exponent: int) -> bytes:
    """SubjectPublicKeyInfo of any two numbers, possible or not."""
    bits = _element(3, b"\0" + _integers(modulus, exponent))
    return _element(0x30, RSA_ENCRYPTION + bits)


def _refused(field: bytes) -> bool:
    try:
        parse_public_key(field)
    except Refused:
        return True
    return False


# The key file


def test_the_first_start_makes_a_key_file_for_its_owner_only(tmp_path: Path) -> None:
    KeyFile(tmp_path / "server.key")
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600


def test_the_key_file_holds_an_aes_256_key(tmp_path: Path) -> None:
    KeyFile(tmp_path / "server.key")
    assert len((tmp_path / "server.key").read_bytes()) == 32


def test_each_server_has_a_key_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        KeyFile(tmp_path / name)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_the_next_start_uses_the_same_key(tmp_path: Path) -> None:
    wrapped = KeyFile(tmp_path / "server.key").wrap(bytes(16))
    assert KeyFile(tmp_path / "server.key").wrap(bytes(16)) == wrapped


@pytest.mark.parametrize("left", [b"", b"half a key", bytes(32)])
def test_what_a_crash_left_while_making_the_key_is_replaced(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "server.key.new").write_bytes(left)
    KeyFile(tmp_path / "server.key")
    assert [path.name for path in tmp_path.iterdir()] == ["server.key"]


def test_leftovers_beside_a_key_are_not_taken_for_it(tmp_path: Path) -> None:
    wrapped = KeyFile(tmp_path / "server.key").wrap(bytes(16))
    (tmp_path / "server.key.new").write_bytes(bytes(32))
    assert KeyFile(tmp_path / "server.key").wrap(bytes(16)) == wrapped


def test_the_key_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, Path.rename

    def recorded_sync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def recorded_rename(path: Path, target: Path) -> Path:
        steps.append(f"rename to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(Path, "rename", recorded_rename)
    KeyFile(tmp_path / "server.key")
    assert steps == ["sync server.key.new", "rename to server.key", f"sync {tmp_path.name}"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o666, 0o777])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "server.key"
    KeyFile(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"{path} is open to others: chmod 600 {path}"):
        KeyFile(path)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 4096])
def test_a_key_file_of_another_length_is_refused_and_kept(tmp_path: Path, size: int) -> None:
    path = tmp_path / "server.key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is damaged"):
        KeyFile(path)
    assert path.stat().st_size == size


def test_a_directory_in_place_of_the_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"key file {tmp_path}: Is a directory"):
        KeyFile(tmp_path)


def test_a_key_file_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"server\.key: No such file"):
        KeyFile(tmp_path / "missing" / "server.key")


@pytest.mark.parametrize("size", [16, 32])
def test_a_wrapped_key_opens_under_the_key_file_by_rfc_3394(tmp_path: Path, size: int) -> None:
    aes_key = os.urandom(size)
    wrapped = KeyFile(tmp_path / "server.key").wrap(aes_key)
    assert len(wrapped) == size + 8
    assert aes_key_unwrap((tmp_path / "server.key").read_bytes(), wrapped) == aes_key


@pytest.mark.parametrize("size", [16, 32])
def test_every_aes_key_is_new(size: int) -> None:
    keys = {new_aes_key(size) for _ in range(50)}
    assert {len(key) for key in keys} == {size}
    assert len(keys) == 50


# Public keys


def test_a_1024_bit_key_with_exponent_17_fills_its_field() -> None:
    assert len(GOLDEN) == FIELD_BYTES
    assert parse_public_key(GOLDEN) == GOLDEN


@pytest.mark.parametrize("bits", [1017, 1023])
def test_a_shorter_key_is_accepted_without_the_zeros_after_it(bits: int) -> None:
    der = crypto.public_der(crypto.make_key(bits))
    assert len(der) < FIELD_BYTES
    assert parse_public_key(der.ljust(FIELD_BYTES, b"\0")) == der


def test_exponent_65537_is_accepted_where_the_field_has_room() -> None:
    der = crypto.public_der(rsa.generate_private_key(65537, 1024))  # noqa: S505 - protocol 3's size
    assert parse_public_key(der) == der


@pytest.mark.parametrize("position", [-1, -2])
def test_anything_but_zeros_after_the_key_is_refused(position: int) -> None:
    field = bytearray(crypto.public_der(crypto.make_key(1017)).ljust(FIELD_BYTES, b"\0"))
    field[position] = 1
    assert _refused(bytes(field))


@pytest.mark.parametrize("size", range(FIELD_BYTES))
def test_a_key_cut_short_at_any_byte_is_refused(size: int) -> None:
    assert _refused(GOLDEN[:size])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 80, 158, 159])
def test_a_key_cut_short_and_filled_with_zeros_is_refused_or_another_number(size: int) -> None:
    # The last bytes are those of the exponent: 17 becomes 0.
    assert _refused(GOLDEN[:size].ljust(FIELD_BYTES, b"\0"))


@given(field=st.binary(max_size=200))
def test_random_bytes_are_refused(field: bytes) -> None:
    assert _refused(field)


@settings(max_examples=300)
@given(position=st.integers(0, FIELD_BYTES - 1), byte=st.integers(0, 255))
def test_a_key_with_one_byte_changed_is_a_key_or_refused(position: int, byte: int) -> None:
    field = bytearray(GOLDEN)
    field[position] = byte
    if not _refused(bytes(field)):
        assert len(wrap_for_client(bytes(32), bytes(field))) == 128


@settings(max_examples=300)
@given(numbers=st.lists(st.integers(0, 2**130) | st.sampled_from([0, 1, 2, 3]), max_size=9))
def test_any_list_of_numbers_is_a_key_or_refused(numbers: list[int]) -> None:
    field = _integers(2**1023 + 1, *numbers).ljust(FIELD_BYTES, b"\0")
    if not _refused(field):
        assert len(wrap_for_client(bytes(32), parse_public_key(field))) == 128


def test_a_private_key_with_a_prime_of_zero_is_refused() -> None:
    # Version, n, e, d, p, q, ...: the library computes an inverse modulo the prime.
    field = _integers(0, 2**1023 + 1, 17, 3, 5, 0, 1, 1, 1)
    assert len(field) <= FIELD_BYTES
    assert _refused(field.ljust(FIELD_BYTES, b"\0"))


@pytest.mark.parametrize(
    "kind", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_a_private_key_is_refused(kind: serialization.PrivateFormat) -> None:
    plain = serialization.NoEncryption()
    assert _refused(KEY.private_bytes(serialization.Encoding.DER, kind, plain))


def test_the_older_form_of_a_public_key_is_accepted() -> None:
    # PKCS#1 (RFC 8017, A.1.1) is no SubjectPublicKeyInfo, but holds the same two numbers.
    der = KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.PKCS1
    )
    assert parse_public_key(der.ljust(FIELD_BYTES, b"\0")) == der


def test_pem_text_is_refused() -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert _refused(pem)


def test_an_openssh_key_is_refused() -> None:
    text = KEY.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert _refused(text)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()], ids=["P-256", "P-521"])
def test_a_key_on_an_elliptic_curve_is_refused(curve: ec.EllipticCurve) -> None:
    der = (
        ec.generate_private_key(curve)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert _refused(der.ljust(FIELD_BYTES, b"\0"))


@pytest.mark.parametrize("bits", [512, 768, 1016, 1025, 2048])
def test_a_modulus_that_does_not_take_128_bytes_is_refused(bits: int) -> None:
    der = _public_info(2**bits - 1, 17)
    assert _refused(der.ljust(FIELD_BYTES, b"\0"))


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [
        (2**1024 - 2, 17),
        (2**1024 - 1, 0),
        (2**1024 - 1, 1),
        (2**1024 - 1, 2),
        (2**1024 - 1, 16),
        (2**1024 - 1, 2**1024 - 1),
        (2**1024 - 1, 2**1024 + 1),
    ],
    ids=["even modulus", "e=0", "e=1", "e=2", "even e", "e=n", "e>n"],
)
def test_impossible_numbers_are_refused(modulus: int, exponent: int) -> None:
    assert _refused(_public_info(modulus, exponent))


# AES keys for clients


@pytest.mark.parametrize("bits", [1017, 1024])
@pytest.mark.parametrize("size", [16, 32])
def test_a_client_opens_its_aes_key_with_oaep_sha_1(bits: int, size: int) -> None:
    private, aes_key = crypto.make_key(bits), os.urandom(size)
    wrapped = wrap_for_client(aes_key, crypto.public_der(private))
    assert len(wrapped) == 128
    assert crypto.unwrap(private, wrapped) == aes_key


def test_the_same_aes_key_never_looks_the_same() -> None:
    assert wrap_for_client(bytes(16), GOLDEN) != wrap_for_client(bytes(16), GOLDEN)


def test_a_key_too_small_for_the_aes_key_is_refused() -> None:
    small = crypto.public_der(crypto.make_key(512))
    with pytest.raises(Refused, match="does not fit"):
        wrap_for_client(bytes(32), small)

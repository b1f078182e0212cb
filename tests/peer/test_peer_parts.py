"""The parts the peer is made of: checksum, keys, content, the client's files."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import crypto, identity_files
from tests.peer.cksum import cksum, cksum_bit_by_bit
from tests.peer.identity_files import FileStyle, Identity, TransferInfo
from tests.peer.style import Packets, Style

ID = bytes(range(16, 32))
CONTENTS = [b"", b"\0", b"\0" * 300, b"a" * 255, b"b" * 256, bytes(range(256)) * 257]
STYLES = [
    FileStyle(),
    FileStyle(crlf=True),
    FileStyle(base64_width=64),
    FileStyle(crlf=True, base64_width=76, final_newline=False),
    FileStyle(key_in_priv_key=False),
    FileStyle(key_in_priv_key=False, base64_width=64, crlf=True),
    FileStyle(key_in_me_info=False),
    FileStyle(key_in_me_info=False, base64_width=64, crlf=True),
]


def test_cksum_has_the_published_value() -> None:
    assert cksum(b"123456789") == 930766865
    assert cksum_bit_by_bit(b"123456789") == 930766865


def test_cksum_of_nothing_is_the_complement_of_zero() -> None:
    assert cksum(b"") == 0xFFFFFFFF


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_cksum_is_that_of_the_command(content: bytes) -> None:
    printed = subprocess.run(["cksum"], input=content, capture_output=True, check=True, timeout=10)
    assert cksum(content) == int(printed.stdout.split()[0])
    assert cksum_bit_by_bit(content) == cksum(content)


def test_a_key_is_exactly_160_bytes(key: rsa.RSAPrivateKey) -> None:
    assert len(crypto.public_der(key)) == 160
    assert key.public_key().public_numbers().e == 17
    assert key.key_size == 1024


@pytest.mark.parametrize(("bits", "size"), [(1023, 159), (768, 124), (512, 92)])
def test_a_smaller_key_is_shorter(bits: int, size: int) -> None:
    small = crypto.make_key(bits)
    assert small.key_size == bits
    assert len(crypto.public_der(small)) == size
    assert crypto.unwrap(small, crypto.wrap(small.public_key(), b"k" * 16)) == b"k" * 16


def test_a_private_key_survives_its_der(key: rsa.RSAPrivateKey) -> None:
    again = crypto.load_private(crypto.private_der(key))
    assert again.private_numbers() == key.private_numbers()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_content_is_what_openssl_makes_of_it(size: int) -> None:
    plain, aes_key = bytes(range(250)) * 4, bytes(range(16))
    command = ["openssl", "enc", "-aes-128-cbc", "-K", aes_key.hex(), "-iv", "0" * 32]
    by_openssl = subprocess.run(
        command, input=plain[:size], capture_output=True, check=True, timeout=10
    ).stdout
    assert crypto.encrypt(aes_key, plain[:size]) == by_openssl
    assert crypto.decrypt(aes_key, by_openssl) == plain[:size]


@pytest.mark.parametrize("ciphertext", [b"", b"x" * 15, b"x" * 17, bytes(16)])
def test_content_that_is_none_is_told(ciphertext: bytes) -> None:
    with pytest.raises(crypto.ContentError):
        crypto.decrypt(bytes(16), ciphertext)


def test_a_name_of_255_bytes_needs_its_style() -> None:
    assert Style().name_field(b"n" * 254)[254:] == b"\0"
    assert Style(unterminated_names=True).name_field(b"n" * 255) == b"n" * 255
    with pytest.raises(ValueError, match="255 bytes"):
        Style().name_field(b"n" * 255)


@pytest.mark.parametrize("length", [1, 100, 253, 254])
def test_garbage_after_nul_is_all_there_is_after_it(length: int) -> None:
    field = Style(garbage_after_nul=True).name_field(b"n" * length)
    assert len(field) == 255
    assert field[length] == 0
    assert b"\0" not in field[length + 1 :]


def test_filled_slices_are_of_one_length() -> None:
    style = Style(Packets.FILLED_SLICES, packet_size=1000)
    packets = style._packets(bytes(32), b"x" * 2500)
    assert [len(content) for _, _, _, content in packets] == [1000, 1000, 1000]
    assert {size for _, _, size, _ in packets} == {2512}


def test_own_ciphertexts_have_their_own_sizes() -> None:
    style = Style(Packets.OWN_CIPHERTEXTS, packet_size=1000)
    packets = style._packets(bytes(32), b"x" * 2500)
    assert [(size, len(content)) for _, _, size, content in packets] == [
        (1008, 1008),
        (1008, 1008),
        (512, 512),
    ]


@pytest.mark.parametrize("style", STYLES, ids=repr)
def test_an_identity_survives_its_files(
    style: FileStyle, tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    identity = Identity("Miriam", ID, crypto.private_der(key))
    identity_files.write_identity(tmp_path, identity, style)
    assert identity_files.read_identity(tmp_path) == identity
    if style != FileStyle():
        with pytest.raises((ValueError, FileNotFoundError)):
            identity_files.read_identity(tmp_path, strict=True)
    else:
        assert identity_files.read_identity(tmp_path, strict=True) == identity


def test_an_identity_without_any_key_is_told(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    style = FileStyle(key_in_me_info=False, key_in_priv_key=False)
    identity = Identity("Miriam", ID, crypto.private_der(key))
    identity_files.write_identity(tmp_path, identity, style)
    with pytest.raises(ValueError, match="no private key"):
        identity_files.read_identity(tmp_path)


@pytest.mark.parametrize("style", STYLES[:4], ids=repr)
def test_a_transfer_survives_its_file(style: FileStyle, tmp_path: Path) -> None:
    info = TransferInfo("127.0.0.1", 1234, "Miriam Cohen", "a file.txt")
    identity_files.write_transfer_info(tmp_path, info, style)
    assert identity_files.read_transfer_info(tmp_path) == info


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "h:70000", "h:-1"])
def test_a_transfer_without_address_is_told(address: str, tmp_path: Path) -> None:
    (tmp_path / "transfer.info").write_text(f"{address}\nMiriam\nfile\n")
    with pytest.raises(ValueError, match="no address"):
        identity_files.read_transfer_info(tmp_path)

"""Private keys read without the library's reader of all formats, held against it."""

import base64
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from client.identity4 import load_key
from client.pkcs8 import read_rsa_numbers

_MUTATIONS = 1000


@pytest.fixture(scope="module")
def key(rsa_3072: bytes) -> RSAPrivateKey:
    key = load_pem_private_key(rsa_3072, None)
    assert isinstance(key, RSAPrivateKey)
    return key


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN PRIVATE KEY-----", *lines, b"-----END PRIVATE KEY-----", b""])


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_a_key_is_read_as_the_library_reads_it(bits: int) -> None:
    key = generate_private_key(65537, bits)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    assert read_rsa_numbers(pem) == key.private_numbers()


def test_a_key_is_read_without_the_reader_of_all_formats(rsa_3072: bytes, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(rsa_3072)
    script = (
        "import sys; from client.identity4 import load_key;"
        "load_key(open('key.pem', 'rb').read());"
        "print('cryptography.hazmat.primitives.serialization' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "False\n"


def test_a_key_in_another_format_is_left_to_the_library(key: RSAPrivateKey) -> None:
    other = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    with pytest.raises(ValueError, match="PKCS#8"):
        read_rsa_numbers(other)

    assert load_key(other).private_numbers() == key.private_numbers()


def test_what_is_no_rsa_key_is_refused(key: RSAPrivateKey) -> None:
    pkcs8 = (Encoding.PEM, PrivateFormat.PKCS8)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for pem in (
        b"",
        _pem(b""),
        _pem(b"\x30\x80"),
        _pem(der[:-1]),
        _pem(der + b"\0"),
        _pem(der).replace(b"M", b"*", 1),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(*pkcs8, NoEncryption()),
        key.private_bytes(*pkcs8, BestAvailableEncryption(b"passphrase")),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - whichever: the caller asks no further
            read_rsa_numbers(pem)
        with pytest.raises(ValueError):  # noqa: PT011
            load_key(pem)


def test_a_damaged_key_is_never_read_otherwise_than_by_the_library(key: RSAPrivateKey) -> None:
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    chance = random.Random(8)
    read: Counter[bool] = Counter()
    for _ in range(_MUTATIONS):
        damaged = bytearray(der)
        at = chance.randrange(60 if chance.random() < 0.5 else len(der))
        kind = chance.randrange(4)
        if kind == 0:
            del damaged[at : at + chance.choice((1, 2, 100))]
        elif kind == 1:
            damaged[at:at] = chance.randbytes(chance.choice((1, 3)))
        else:
            damaged[at] ^= 1 << chance.randrange(8)
        pem = _pem(bytes(damaged))
        try:
            numbers = read_rsa_numbers(pem)
            ours = numbers.private_key(unsafe_skip_rsa_key_validation=True)
        except ValueError:
            read[False] += 1
            continue
        read[True] += 1
        theirs = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(theirs, RSAPrivateKey)
        assert theirs.private_numbers() == ours.private_numbers()
    assert min(read[True], read[False]) > _MUTATIONS // 20

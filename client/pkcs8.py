"""RSA private keys in PKCS#8, read without loading every key format there is."""

import binascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers

_BEGIN = b"-----BEGIN PRIVATE KEY-----\n"
_END = b"-----END PRIVATE KEY-----\n"
_SEQUENCE, _INTEGER, _OCTET_STRING = 0x30, 0x02, 0x04
_RSA = bytes.fromhex("06092a864886f70d010101 0500")
"""rsaEncryption and its parameters (RFC 8017, appendix A.1)."""
_LONG_FORM = 0x80
_NUMBERS = 8


def read_rsa_numbers(pem: bytes) -> "RSAPrivateNumbers":
    """The numbers in a PEM that is laid out as `client.identity4.make_key` writes it.

    One PrivateKeyInfo (RFC 5208, section 5) with an RSAPrivateKey of two primes (RFC 8017, appendix
    A.1.2), unencrypted, in DER, without attributes. Raises `ValueError` on anything else, which may
    well be a key. Whether the numbers belong together is not looked at.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

    if not (pem.startswith(_BEGIN) and pem.endswith(_END)):
        raise ValueError("not the PEM of one PKCS#8 key")
    text = pem[len(_BEGIN) : -len(_END)].replace(b"\n", b"")
    info = _only(_SEQUENCE, memoryview(binascii.a2b_base64(text, strict_mode=True)))
    version, info = _number(info)
    algorithm, info = _first(_SEQUENCE, info)
    rest = _only(_SEQUENCE, _only(_OCTET_STRING, info))
    numbers = []
    while rest:
        number, rest = _number(rest)
        numbers.append(number)
    if version or algorithm != _RSA or len(numbers) != 1 + _NUMBERS or numbers.pop(0):
        raise ValueError("not an RSA key of two primes")
    n, e, d, p, q, dmp1, dmq1, iqmp = numbers
    return RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, RSAPublicNumbers(e, n))


def _only(tag: int, data: memoryview) -> memoryview:
    value, rest = _first(tag, data)
    if rest:
        raise ValueError(f"{len(rest)} bytes too many")
    return value


def _number(data: memoryview) -> tuple[int, memoryview]:
    value, rest = _first(_INTEGER, data)
    number = int.from_bytes(value, "big", signed=True)
    if number < 0 or len(value) != number.bit_length() // 8 + 1:
        raise ValueError("a number below 0, or with zeros in front")
    return number, rest


def _first(tag: int, data: memoryview) -> tuple[memoryview, memoryview]:
    """The value of the first element, which has this tag, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError(f"no element of the tag {tag:#x}")
    size, start = data[1], 2
    if size >= _LONG_FORM:
        start += size - _LONG_FORM
        size = int.from_bytes(data[2:start], "big")
        if size < _LONG_FORM or not data[2]:
            raise ValueError("a length that is not written in the shortest way")
    if start + size > len(data):
        raise ValueError("an element that is cut off")
    return data[start : start + size], data[start + size :]

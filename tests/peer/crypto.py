"""RSA, OAEP and AES of protocol 3, by the package `cryptography`.

The product uses another package; sharing none is what makes the two readings independent.
"""

import math
import secrets

from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PUBLIC_EXPONENT = 17
BLOCK = 16
_ZERO_IV = bytes(BLOCK)


class ContentError(ValueError):
    """A ciphertext that is no whole number of blocks, or whose padding is wrong."""


def _is_probably_prime(candidate: int) -> bool:
    """Miller-Rabin with 24 random bases."""
    twos = ((candidate - 1) & -(candidate - 1)).bit_length() - 1
    odd = (candidate - 1) >> twos
    for _ in range(24):
        power = pow(2 + secrets.randbelow(candidate - 3), odd, candidate)
        if power in {1, candidate - 1}:
            continue
        for _ in range(twos - 1):
            power = pow(power, 2, candidate)
            if power == candidate - 1:
                break
        else:
            return False
    return True


_SMALL_PRIMES = math.prod(n for n in range(3, 1000, 2) if all(n % d for d in range(3, n, 2)))


def _make_prime(bits: int) -> int:
    while True:
        candidate = secrets.randbits(bits) | 1 << (bits - 1) | 1
        if math.gcd(candidate, _SMALL_PRIMES) > 1 or (candidate - 1) % PUBLIC_EXPONENT == 0:
            continue
        if _is_probably_prime(candidate):
            return candidate


def make_key(bits: int = 1024) -> rsa.RSAPrivateKey:
    """A new RSA key of exactly `bits` bits with exponent 17.

    `cryptography` makes keys with 3 and 65537 only, and none below 1024 bits, so the primes are
    looked for here; it does load and use such keys.
    """
    while True:
        p, q = _make_prime((bits + 1) // 2), _make_prime(bits // 2)
        if p != q and (p * q).bit_length() == bits:
            break
    d = pow(PUBLIC_EXPONENT, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(PUBLIC_EXPONENT, p * q)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public
    )
    return numbers.private_key()


def public_der(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> bytes:
    """DER SubjectPublicKeyInfo: 160 bytes for a 1024-bit key with exponent 17."""
    public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_der(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS#8 DER, not encrypted, as the client's files hold it."""
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_private(der: bytes) -> rsa.RSAPrivateKey:
    """The key in PKCS#8 DER; ValueError when there is none."""
    key = serialization.load_der_private_key(der, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def load_public(der: bytes) -> rsa.RSAPublicKey:
    """The key in DER SubjectPublicKeyInfo; ValueError when there is none."""
    key = serialization.load_der_public_key(der)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def _oaep() -> rsa_padding.OAEP:
    return rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303


def wrap(key: rsa.RSAPublicKey, aes_key: bytes) -> bytes:
    """The AES key, RSA-OAEP encrypted."""
    return key.encrypt(aes_key, _oaep())


def unwrap(key: rsa.RSAPrivateKey, encrypted: bytes) -> bytes:
    """The AES key; ValueError when it does not decrypt."""
    return key.decrypt(encrypted, _oaep())


def encrypt(aes_key: bytes, plain: bytes) -> bytes:
    """AES-CBC with zero IV and PKCS#7 padding."""
    padder = padding.PKCS7(BLOCK * 8).padder()
    encryptor = Cipher(algorithms.AES(aes_key), modes.CBC(_ZERO_IV)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def decrypt(aes_key: bytes, ciphertext: bytes) -> bytes:
    """The plain content; `ContentError` when length or padding is wrong."""
    if not ciphertext or len(ciphertext) % BLOCK:
        raise ContentError(f"ciphertext of {len(ciphertext)} bytes is no whole number of blocks")
    decryptor = Cipher(algorithms.AES(aes_key), modes.CBC(_ZERO_IV)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    unpadder = padding.PKCS7(BLOCK * 8).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise ContentError("padding of the content is wrong") from error

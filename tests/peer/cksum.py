"""The checksum of POSIX `cksum`, written from the text of the standard."""

GENERATOR = 0x04C11DB7
"""x^26 + x^23 + x^22 + x^16 + x^12 + x^11 + x^10 + x^8 + x^7 + x^5 + x^4 + x^2 + x + 1."""

_TOP = 0x80000000
_MASK = 0xFFFFFFFF


def _shift_in(remainder: int, octet: int) -> int:
    """Divide on by one octet, its most significant bit first, as the standard orders the bits."""
    remainder ^= octet << 24
    for _ in range(8):
        if remainder & _TOP:
            remainder = ((remainder << 1) ^ GENERATOR) & _MASK
        else:
            remainder = (remainder << 1) & _MASK
    return remainder


_TABLE = tuple(_shift_in(0, octet) for octet in range(256))


def _length_octets(length: int) -> bytes:
    """Least significant octet first, the smallest number of octets that holds it; none for 0."""
    return length.to_bytes((length.bit_length() + 7) // 8, "little")


def cksum_bit_by_bit(data: bytes) -> int:
    """The same value as `cksum`, by the plainest way; for checking the table."""
    remainder = 0
    for octet in data + _length_octets(len(data)):
        remainder = _shift_in(remainder, octet)
    return remainder ^ _MASK


def cksum(data: bytes) -> int:
    """What the command `cksum` prints for these bytes."""
    remainder = 0
    for octet in data + _length_octets(len(data)):
        remainder = ((remainder << 8) & _MASK) ^ _TABLE[(remainder >> 24) ^ octet]
    return remainder ^ _MASK

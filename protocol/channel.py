"""What both sides must agree on before the first message of protocol 4 (section 1)."""

import base64

from protocol.contexts import FINGERPRINT_BYTES

ALPN = "eft/4"
"""The name under which TLS negotiates protocol 4 (RFC 7301)."""

TLS_HANDSHAKE = 0x16
"""First byte of a TLS connection (RFC 8446, 5.1); no protocol-3 client id begins with it."""


DATA_PREFACE = b"EFT/4 data".ljust(16, b"\0")
"""What a data connection begins with (section 1.2), before its ticket."""


def format_fingerprint(fingerprint: bytes) -> str:
    """A SHA-256 fingerprint (32 bytes) as people compare it."""
    return "SHA256:" + base64.b64encode(fingerprint).decode("ascii").rstrip("=")


def parse_fingerprint(text: str) -> bytes:
    """The 32 bytes of a fingerprint as `format_fingerprint` writes it; raises `ValueError`."""
    prefix, _, encoded = text.strip().partition(":")
    if prefix.upper() != "SHA256" or len(encoded) != 43:
        raise ValueError("a fingerprint such as SHA256: and 43 characters")
    fingerprint = base64.b64decode(encoded + "=", validate=True)
    if len(fingerprint) != FINGERPRINT_BYTES:  # an "=" among the 43
        raise ValueError("a fingerprint of another length")
    return fingerprint

"""Fingerprints as people compare them."""

import pytest

from protocol.channel import format_fingerprint, parse_fingerprint

FINGERPRINT = bytes(range(32))
SHOWN = "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def test_a_fingerprint_reads_as_it_is_shown() -> None:
    assert format_fingerprint(FINGERPRINT) == SHOWN
    assert parse_fingerprint(f" {SHOWN}\n") == FINGERPRINT
    assert parse_fingerprint(SHOWN.replace("SHA", "sha")) == FINGERPRINT


@pytest.mark.parametrize(
    "text",
    ["", SHOWN[:-1], SHOWN + "=", SHOWN[:-1] + "=", SHOWN[:-2] + "==", SHOWN.replace("A", "!"),
     SHOWN.replace("SHA256", "MD5"), SHOWN.replace("A", "\u00e9")],
)  # fmt: skip
def test_what_is_not_32_bytes_is_no_fingerprint(text: str) -> None:
    with pytest.raises(ValueError, match=r"fingerprint|base64|padding|ASCII"):
        parse_fingerprint(text)

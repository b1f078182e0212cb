"""One message of every class, and its payload written out by hand as hex."""

from protocol.messages3 import (
    ChecksumAbandoned,
    ChecksumInvalid,
    ChecksumValid,
    FileReceived,
    GeneralError,
    KeyAccepted,
    MessageReceived,
    Reconnect,
    Reconnected,
    ReconnectRefused,
    Register,
    Registered,
    RegistrationFailed,
    Request,
    ResendNoted,
    Response,
    SendFile,
    SendPacket,
    SendPublicKey,
)

CLIENT_ID_HEX = "000102030405060708090a0b0c0d0eff"
CLIENT_ID = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff"

_ALICE = "416c696365" + "00" * 250
_A_TXT = "612e747874" + "00" * 250
_SHALOM = "d7a9d79cd795d79d" + "00" * 247  # four letters of two bytes each
_KEY = "30819d" + "ab" * 156 + "11"
_WRAPPED = "fe" + "cd" * 126 + "01"

REQUESTS: tuple[tuple[Request, str], ...] = (
    (Register("Alice"), _ALICE),
    (Reconnect("\u05e9\u05dc\u05d5\u05dd"), _SHALOM),
    (SendPublicKey("Alice", b"\x30\x81\x9d" + b"\xab" * 156 + b"\x11"), _ALICE + _KEY),
    (SendPublicKey("Alice", b"\x30\x81"), _ALICE + "3081" + "00" * 158),
    (SendFile(0, "a.txt"), "00000000" + _A_TXT),
    (SendFile(0x01020304, "a.txt"), "04030201" + _A_TXT),
    (SendFile(0xFFFFFFFF, "a.txt"), "ffffffff" + _A_TXT),
    (
        SendPacket(0x01020304, 0xF5F6F7F8, 0x090A, 0x0B0C, "a.txt"),
        "04030201" + "f8f7f6f5" + "0a09" + "0c0b" + _A_TXT,
    ),
    (SendPacket(16, 3, 1, 65535, "a.txt"), "10000000" + "03000000" + "0100" + "ffff" + _A_TXT),
    (ChecksumValid("a.txt"), _A_TXT),
    (ChecksumInvalid("a.txt"), _A_TXT),
    (ChecksumAbandoned("a.txt"), _A_TXT),
    (ChecksumValid("x" * 255), "78" * 255),
)
RESPONSES: tuple[tuple[Response, str], ...] = (
    (Registered(CLIENT_ID), CLIENT_ID_HEX),
    (RegistrationFailed(), ""),
    (
        KeyAccepted(CLIENT_ID, b"\xfe" + b"\xcd" * 126 + b"\x01"),
        CLIENT_ID_HEX + _WRAPPED,
    ),
    (
        FileReceived(CLIENT_ID, 0x01020304, "a.txt", 0x377A6011),  # 930766865
        CLIENT_ID_HEX + "04030201" + _A_TXT + "11607a37",
    ),
    (
        FileReceived(CLIENT_ID, 0xFFFFFFFF, "\u05e9\u05dc\u05d5\u05dd", 0xFFFFFFFE),
        CLIENT_ID_HEX + "ffffffff" + _SHALOM + "feffffff",
    ),
    (MessageReceived(CLIENT_ID), CLIENT_ID_HEX),
    (Reconnected(CLIENT_ID, b"\x07"), CLIENT_ID_HEX + "07"),
    (ReconnectRefused(CLIENT_ID), CLIENT_ID_HEX),
    (GeneralError(), ""),
    (ResendNoted(), ""),
)


def label(value: object) -> str:
    """A parameter's part of a test's name: a message's class, the beginning of long values."""
    if isinstance(value, Request | Response):
        return type(value).__name__
    return str(value)[:24]

"""The tables of the specification of protocol 3: codes and sizes.

Copied by hand, in its order; nothing here is computed by `protocol`.
"""

from dataclasses import dataclass

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

NAMES = ("2023a", "2023b", "2024a", "2024c")

# fmt: off
_REQUESTS: tuple[tuple[type[Request], int, int, int, int], ...] = (
    (Register,          1100, 1025, 1025, 825),
    (SendPublicKey,     1101, 1026, 1026, 826),
    (Reconnect,         1102, 1027, 1027, 827),
    (SendFile,          1103, 1028,    0,   0),
    (SendPacket,           0,    0, 1028, 828),
    (ChecksumValid,     1104, 1029, 1029, 900),
    (ChecksumInvalid,   1105, 1030, 1030, 901),
    (ChecksumAbandoned, 1106, 1031, 1031, 902),
)
_RESPONSES: tuple[tuple[type[Response], int, int, int, int], ...] = (
    (Registered,         2100, 2100, 1600, 1600),
    (RegistrationFailed, 2101, 2101, 1601, 1601),
    (KeyAccepted,        2102, 2102, 1602, 1602),
    (FileReceived,       2103, 2103, 1603, 1603),
    (MessageReceived,    2104, 2104, 1604, 1604),
    (Reconnected,        2105, 2105, 1605, 1605),
    (ReconnectRefused,   2106, 2106, 1606, 1606),
    (GeneralError,       2107, 2107, 1607, 1607),
    (ResendNoted,        1608, 1608, 1608, 1608),  # a deviation to accept, whatever the generation
)
# fmt: on

# Each code as its two bytes, written by hand.
CODE_HEX = {
    1100: "4c04",
    1101: "4d04",
    1102: "4e04",
    1103: "4f04",
    1104: "5004",
    1105: "5104",
    1106: "5204",
    1025: "0104",
    1026: "0204",
    1027: "0304",
    1028: "0404",
    1029: "0504",
    1030: "0604",
    1031: "0704",
    825: "3903",
    826: "3a03",
    827: "3b03",
    828: "3c03",
    900: "8403",
    901: "8503",
    902: "8603",
    2100: "3408",
    2101: "3508",
    2102: "3608",
    2103: "3708",
    2104: "3808",
    2105: "3908",
    2106: "3a08",
    2107: "3b08",
    1600: "4006",
    1601: "4106",
    1602: "4206",
    1603: "4306",
    1604: "4406",
    1605: "4506",
    1606: "4606",
    1607: "4706",
    1608: "4806",
}

REQUEST_BYTES: dict[type[Request], int] = {
    Register: 255,
    SendPublicKey: 415,
    Reconnect: 255,
    SendFile: 259,  # and the content
    SendPacket: 267,  # and the content
    ChecksumValid: 255,
    ChecksumInvalid: 255,
    ChecksumAbandoned: 255,
}
CARRY_CONTENT: tuple[type[Request], ...] = (SendFile, SendPacket)
# Least and most: what should be empty may hold something, a key may be of more than 1024 bits.
RESPONSE_BYTES: dict[type[Response], tuple[int, int]] = {
    Registered: (16, 16),
    RegistrationFailed: (0, 1024),
    KeyAccepted: (17, 1040),
    FileReceived: (279, 279),
    MessageReceived: (16, 16),
    Reconnected: (17, 1040),
    ReconnectRefused: (16, 16),
    GeneralError: (0, 1024),
    ResendNoted: (0, 1024),
}


@dataclass(frozen=True)
class Column:
    """One generation's column of the specification's table."""

    name: str
    requests: dict[int, type[Request]]
    responses: dict[int, type[Response]]
    aes_key_bits: int
    in_packets: bool
    default_port: int

    def __str__(self) -> str:
        return self.name


def _column(index: int, *, aes_key_bits: int, in_packets: bool, default_port: int) -> Column:
    return Column(
        NAMES[index],
        {codes[index]: message for message, *codes in _REQUESTS if codes[index]},
        {codes[index]: message for message, *codes in _RESPONSES},
        aes_key_bits,
        in_packets,
        default_port,
    )


COLUMNS = (
    _column(0, aes_key_bits=128, in_packets=False, default_port=1234),
    _column(1, aes_key_bits=128, in_packets=False, default_port=1357),
    _column(2, aes_key_bits=256, in_packets=True, default_port=1256),
    _column(3, aes_key_bits=256, in_packets=True, default_port=1256),
)

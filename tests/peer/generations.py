"""The four published generations of protocol 3: their codes, key sizes and ways of sending."""

from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 3
ANSWER_1608 = 1608
"""What some servers answer to "CRC invalid, sending again", which should stay unanswered."""

REQUEST_KINDS = (
    "register",
    "public_key",
    "reconnect",
    "send_file",
    "crc_valid",
    "crc_invalid",
    "crc_abandoned",
)


@dataclass(frozen=True)
class Generation:
    """One column of the specification's table."""

    name: str
    register: int
    public_key: int
    reconnect: int
    send_file: int
    crc_valid: int
    crc_invalid: int
    crc_abandoned: int
    registered: int
    registration_failed: int
    aes_key: int
    file_received: int
    message_received: int
    reconnected: int
    reconnect_refused: int
    general_error: int
    aes_key_size: int
    in_packets: bool
    default_port: int

    @property
    def requests(self) -> Mapping[int, str]:
        """The kind (one of `REQUEST_KINDS`) of each request code."""
        return {
            self.register: "register",
            self.public_key: "public_key",
            self.reconnect: "reconnect",
            self.send_file: "send_file",
            self.crc_valid: "crc_valid",
            self.crc_invalid: "crc_invalid",
            self.crc_abandoned: "crc_abandoned",
        }


# The rows of the table in the specification's order, one tuple for each column.
_REQUESTS_2023A = (1100, 1101, 1102, 1103, 1104, 1105, 1106)
_REQUESTS_1025 = (1025, 1026, 1027, 1028, 1029, 1030, 1031)
_REQUESTS_2024C = (825, 826, 827, 828, 900, 901, 902)
_RESPONSES_2023 = (2100, 2101, 2102, 2103, 2104, 2105, 2106, 2107)
_RESPONSES_2024 = (1600, 1601, 1602, 1603, 1604, 1605, 1606, 1607)

GENERATIONS: Mapping[str, Generation] = {
    "2023a": Generation("2023a", *_REQUESTS_2023A, *_RESPONSES_2023, 16, False, 1234),
    "2023b": Generation("2023b", *_REQUESTS_1025, *_RESPONSES_2023, 16, False, 1357),
    "2024a": Generation("2024a", *_REQUESTS_1025, *_RESPONSES_2024, 32, True, 1256),
    "2024c": Generation("2024c", *_REQUESTS_2024C, *_RESPONSES_2024, 32, True, 1256),
}

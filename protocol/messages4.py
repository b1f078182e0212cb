"""Protocol 4's table of codes, and messages as bytes (section 2 of docs/protocol-4.md)."""

from collections.abc import Mapping
from types import MappingProxyType

from protocol.header import MessageHeader
from protocol.records import Record
from protocol.requests4 import (
    Abandon,
    Attach,
    Begin,
    Connect,
    End,
    Get,
    List,
    Policy,
    Prove,
    Put,
    Register,
    Remove,
    Rename,
    Request4,
    Segment,
    Stat,
)
from protocol.responses4 import (
    Begun,
    Challenge,
    Connected,
    Content,
    Done,
    Entries,
    Entry,
    Outcomes,
    Reason,
    Refused,
    Registered,
    Response4,
    Stored,
    Ticket,
)

__all__ = [
    "CODES",
    "DATA_REQUESTS",
    "DATA_RESPONSES",
    "INTRODUCTIONS",
    "REQUESTS",
    "RESPONSES",
    "Abandon",
    "Attach",
    "Begin",
    "Begun",
    "Challenge",
    "Connect",
    "Connected",
    "Content",
    "Done",
    "End",
    "Entries",
    "Entry",
    "Get",
    "List",
    "Outcomes",
    "Policy",
    "Prove",
    "Put",
    "Reason",
    "Refused",
    "Register",
    "Registered",
    "Remove",
    "Rename",
    "Request4",
    "Response4",
    "Segment",
    "Stat",
    "Stored",
    "Ticket",
    "pack_head",
    "pack_message",
]

REQUESTS: Mapping[int, type[Request4]] = MappingProxyType(
    {
        1: Register,
        2: Connect,
        3: Prove,
        16: Begin,
        17: Segment,
        18: End,
        19: Put,
        20: Abandon,
        21: Attach,
        32: List,
        33: Stat,
        34: Get,
        35: Remove,
        36: Rename,
    }
)
INTRODUCTIONS: Mapping[int, type[Request4]] = MappingProxyType(
    {code: REQUESTS[code] for code in (1, 2, 3)}
)
"""What may come from somebody who has not proved who he is (section 3.2): nothing large."""
RESPONSES: Mapping[int, type[Response4]] = MappingProxyType(
    {
        32769: Registered,
        32770: Challenge,
        32771: Connected,
        32784: Begun,
        32786: Stored,
        32787: Outcomes,
        32789: Ticket,
        32800: Entries,
        32801: Entry,
        32802: Content,
        32803: Done,
        33023: Refused,
    }
)
DATA_REQUESTS: Mapping[int, type[Segment]] = MappingProxyType({17: Segment})
DATA_RESPONSES: Mapping[int, type[Content | Done]] = MappingProxyType({32802: Content, 32803: Done})
"""What may travel on a data connection (section 1.2)."""
CODES: Mapping[type[Record], int] = MappingProxyType(
    {message: code for table in (REQUESTS, RESPONSES) for code, message in table.items()}
)


def pack_message(message: Request4 | Response4, request_id: int) -> bytes:
    """The whole message, header and payload; sealed content is copied into it.

    Raises `ProtocolError` when a field is outside its limits.
    """
    payload = message.pack()
    return MessageHeader(CODES[type(message)], request_id, len(payload)).pack() + payload


def pack_head(message: Segment | Put | Content, request_id: int) -> bytes:
    """The message up to its sealed content, which the caller sends from `message.sealed` itself.

    Raises `ProtocolError` when a field is outside its limits.
    """
    *fixed, sealed = message.parts()
    payload = b"".join(fixed)
    header = MessageHeader(CODES[type(message)], request_id, len(payload) + len(sealed))
    return header.pack() + payload

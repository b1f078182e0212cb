"""What a `PeerServer` can be told to do wrong, or in its own way."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class SendingAgain(enum.Enum):
    """What the server answers to "CRC invalid, sending again"."""

    NOTHING = "nothing, as specified"
    MESSAGE_RECEIVED = "message received"
    CODE_1608 = "code 1608 without a payload"
    CODE_1608_WITH_ID = "code 1608 with the client id"


class Do(enum.Enum):
    """What happens at the point a `Fault` names."""

    CLOSE_AT_HEADER = "close after the request's header, its payload unread"
    CLOSE_INSTEAD = "close instead of answering"
    CLOSE_HALFWAY = "close after half of the answer"
    CLOSE_AFTER = "close after the answer"
    SILENCE = "do not answer, go on reading"
    GARBAGE = "answer with the fault's `data`"


NO_ANSWER_OF_OURS = bytes(range(0xF0, 0x100)) * 4
"""A version, a code and a size that no server means: 240, 62193 and some 4 GB."""


@dataclass(frozen=True)
class Fault:
    """What to do at the `nth` (from 1) request of a kind (see `generations.REQUEST_KINDS`).

    Counted over all connections. CLOSE_AT_HEADER counts requests, so each packet of a file; the
    others count whole messages, so each file once. "crc_invalid" counts too, though it may have
    no answer: GARBAGE is then an answer nobody asked for. Where the general error is due
    (`Behaviour.general_errors`), it is the answer the fault falls upon.
    """

    do: Do
    request: str
    nth: int = 1
    data: bytes = NO_ANSWER_OF_OURS


@dataclass(frozen=True)
class Behaviour:
    """Options of a `PeerServer`; the default is the specification.

    general_errors: for a kind of request, how many times it is answered with the general error
        before it is served. A number of 4 or more makes a client give up.
    refuse_reconnects, refuse_registration: every one of them.
    wrong_checksums: so many files are answered with a wrong checksum.
    refusals_with_id: general error and registration failure carry the id of the request.
    faults: see `Fault`.
    close_on_accept: every connection is closed before anything is read.
    answer_piece: answers are written in pieces of so many bytes.
    """

    sending_again: SendingAgain = SendingAgain.NOTHING
    general_errors: Mapping[str, int] = field(default_factory=dict)
    refuse_reconnects: bool = False
    refuse_registration: bool = False
    wrong_checksums: int = 0
    refusals_with_id: bool = False
    faults: tuple[Fault, ...] = ()
    close_on_accept: bool = False
    answer_piece: int | None = None

"""Hypothesis strategies for what travels, and for the pieces in which it arrives."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st

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

some = settings(max_examples=60, deadline=None)
many = settings(max_examples=300, deadline=None)

client_ids = st.binary(min_size=16, max_size=16)
uint16s = st.integers(0, 2**16 - 1)
uint32s = st.integers(0, 2**32 - 1)
_TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
raw_names = st.binary(max_size=255).map(lambda data: data.replace(b"\0", b"\xff"))
names = st.one_of(
    st.text(_TEXT, max_size=60),
    raw_names.map(lambda data: data.decode("utf-8", "surrogateescape")),
)

name_requests: st.SearchStrategy[Request] = st.one_of(
    *(
        st.builds(message, names)
        for message in (Register, Reconnect, ChecksumValid, ChecksumInvalid, ChecksumAbandoned)
    )
)
key_requests = st.builds(SendPublicKey, names, st.binary(min_size=160, max_size=160))
file_requests = st.builds(SendFile, uint32s, names)
packet_requests = st.builds(SendPacket, uint32s, uint32s, uint16s, uint16s, names)
requests: st.SearchStrategy[Request] = st.one_of(
    name_requests, key_requests, file_requests, packet_requests
)

_wrapped_keys = st.binary(min_size=1, max_size=1024)
responses: st.SearchStrategy[Response] = st.one_of(
    *(st.builds(message, client_ids) for message in (Registered, MessageReceived)),
    st.builds(ReconnectRefused, client_ids),
    *(st.builds(message) for message in (RegistrationFailed, GeneralError, ResendNoted)),
    *(st.builds(message, client_ids, _wrapped_keys) for message in (KeyAccepted, Reconnected)),
    st.builds(FileReceived, client_ids, uint32s, names, uint32s),
)

cuts = st.lists(st.integers(0, 2**16), max_size=8)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """`data` in `len(at) + 1` pieces, some of them perhaps empty."""
    places = sorted(place % (len(data) + 1) for place in at)
    return [data[start:end] for start, end in pairwise([0, *places, len(data)])]


def byte_by_byte(data: bytes) -> list[bytes]:
    """`data` in pieces of one byte."""
    return [data[place : place + 1] for place in range(len(data))]

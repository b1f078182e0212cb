"""Hypothesis strategies for the messages of protocol 4, and for how they arrive."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st

from protocol.messages4 import (
    Abandon,
    Attach,
    Begin,
    Begun,
    Challenge,
    Connect,
    Connected,
    Content,
    Done,
    End,
    Entries,
    Entry,
    Get,
    List,
    Outcomes,
    Policy,
    Prove,
    Put,
    Reason,
    Refused,
    Register,
    Registered,
    Remove,
    Rename,
    Request4,
    Response4,
    Segment,
    Stat,
    Stored,
    Ticket,
)

some = settings(max_examples=60, deadline=None)
many = settings(max_examples=300, deadline=None)

ids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
client_names = texts.filter(lambda name: 1 <= len(name.encode()) <= 255)
blobs = st.binary(max_size=600)
uint32s = st.integers(0, 2**32 - 1)
uint64s = st.integers(0, 2**64 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
sizes = st.integers(0, 2**63 - 1)
offsets = st.integers(0, 2**43 - 1).map(lambda index: index * 1048576)
modes = st.integers(0, 0o7777)
policies = st.sampled_from(Policy)
sealed = st.binary(min_size=17, max_size=300)
full = st.binary(min_size=1, max_size=8).map(lambda data: (data * 1048592)[:1048592])
# index, final flag and sealed content that fit each other
places = st.one_of(
    st.tuples(st.integers(0, 2**43 - 1), st.just(True), sealed),
    st.tuples(st.integers(0, 2**43 - 2), st.booleans(), full),
    st.tuples(st.just(0), st.just(True), st.binary(min_size=16, max_size=16)),
)

entry = st.builds(
    Entry,
    ids,
    sizes,
    int64s,
    modes,
    int64s,
    st.none() | hashes,
    st.none() | uint32s,
    texts,
)
requests: st.SearchStrategy[Request4] = st.one_of(
    st.builds(Register, client_names, texts, blobs),
    st.builds(Connect, ids),
    st.builds(Prove, hashes),
    st.builds(Begin, ids, hashes, st.none() | sizes, int64s, modes, policies, texts),
    st.builds(lambda upload_id, place: Segment(upload_id, *place), ids, places),
    st.builds(End, ids, sizes, hashes),
    st.builds(Put, hashes, blobs.filter(bool), sealed),
    st.builds(Abandon, ids),
    st.builds(Attach),
    st.builds(List, texts, texts, st.integers(1, 1000)),
    st.builds(Stat, texts),
    st.builds(Get, hashes, offsets, texts),
    st.builds(Remove, texts),
    st.builds(Rename, st.sampled_from((Policy.NEVER, Policy.ALWAYS)), texts, texts),
)
responses: st.SearchStrategy[Response4] = st.one_of(
    st.builds(Registered, ids),
    st.builds(Challenge, st.binary(min_size=384, max_size=384)),
    st.builds(Connected, hashes, uint64s, client_names),
    st.builds(Begun, offsets),
    st.builds(
        Stored,
        blobs,
        st.integers(0, 65535),
        st.integers(1, 65535),
        st.lists(hashes, max_size=16).map(tuple),
        st.binary(min_size=64, max_size=64),
    ),
    st.builds(
        Outcomes, int64s, st.binary(min_size=64, max_size=64), st.binary(min_size=1, max_size=300)
    ),
    st.builds(Ticket, hashes),
    st.builds(Entries, st.booleans(), st.lists(entry, max_size=4).map(tuple)),
    entry,
    st.builds(lambda place: Content(*place), places),
    st.builds(Done),
    st.builds(Refused, st.sampled_from(Reason), uint32s, texts),
)

cuts = st.lists(st.integers(0, 2**22), max_size=12)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """`data` in `len(at) + 1` pieces, some of them perhaps empty."""
    places_in_order = sorted(place % (len(data) + 1) for place in at)
    return [data[start:end] for start, end in pairwise([0, *places_in_order, len(data)])]

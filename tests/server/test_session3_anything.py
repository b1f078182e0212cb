"""Whatever a peer sends, in whatever order and pieces: a session answers, ends or waits."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.peer import client as peer
from tests.peer.generations import REQUEST_KINDS
from tests.peer.style import Packets, Style
from tests.server.hostile_doubles import disk_failing
from tests.server.hostile_sessions import SessionPeer, Sessions, badly_padded, sessions

RESPONSES = set(range(2100, 2108)) | set(range(1600, 1608))
NAMES = st.sampled_from(["a", "b", "..", "CON"])
GOOD_NAMES = ("a", "b")
CONTENTS = st.sampled_from([b"", b"x", b"x" * 16, os.urandom(300)])

shared = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    with sessions(tmp_path_factory.mktemp("anything") / "data") as made:
        yield made


def messages(client: SessionPeer) -> dict[str, bytes]:
    """A good request of each kind."""
    generation = client.generation
    return {
        "register": client.register_request(),
        "public_key": client.public_key_request(),
        "reconnect": client.name_request(generation.reconnect, client.name),
        "send_file": b"".join(client.file_requests("file", b"content" * 9)),
        "crc_valid": client.name_request(generation.crc_valid, "file"),
        "crc_invalid": client.name_request(generation.crc_invalid, "file"),
        "crc_abandoned": client.name_request(generation.crc_abandoned, "file"),
    }


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, int, bytes]:
    """A kind of request, and where which bytes are written over it."""
    kind = draw(st.sampled_from(REQUEST_KINDS))
    return kind, draw(st.integers(0, 600)), draw(st.binary(max_size=4))


def in_pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        yield data[start:end]


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
@pytest.mark.parametrize("packets", [Packets.ONE_CIPHERTEXT, Packets.OWN_CIPHERTEXTS])
@given(
    introduced=st.booleans(),
    spoilt=st.lists(st.one_of(spoilt(), st.binary(max_size=400)), max_size=6),
    cuts=st.lists(st.integers(0, 5000), max_size=8),
)
@settings(shared, max_examples=40)
def test_no_bytes_in_any_pieces_raise_or_leave_anything_staged(
    served: Sessions,
    generation: str,
    packets: Packets,
    introduced: bool,
    spoilt: list[tuple[str, int, bytes] | bytes],
    cuts: list[int],
) -> None:
    style = Style(packets, packet_size=32)
    client = served.peer(generation, style=style, name=os.urandom(8).hex())
    client.register()
    client.aes_key = bytes(client.generation.aes_key_size)
    if introduced:
        client.send_public_key()
    good = messages(client)
    stream = b""
    for item in spoilt:
        if isinstance(item, bytes):
            stream += item
        else:
            kind, at, over = item
            stream += good[kind][:at] + over + good[kind][at + len(over) :]
    for piece in in_pieces(stream, cuts):
        client.send_raw(piece)
    assert set(client.codes()) <= RESPONSES
    client.close()
    assert served.staged() == []


@given(garbage=st.binary(max_size=2000))
@settings(shared, max_examples=60)
def test_garbage_is_answered_with_at_most_one_error(served: Sessions, garbage: bytes) -> None:
    client = served.peer()
    client.send_raw(bytes(16) + b"\x04" + garbage)
    assert client.codes() in ([], [2107])


class Clients(RuleBasedStateMachine):
    """One client's requests in any order, beside a model of what the server must keep."""

    generation = "2023a"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        data = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        self.served = self.stack.enter_context(sessions(data))
        self.client = self.served.introduced(self.generation, style=Style(packet_size=100))
        self.keyed = True
        self.failed = 0
        self.awaiting: tuple[str, bytes] | None = None
        self.stored: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.stack.close()

    @property
    def works(self) -> bool:
        return not self.client.session.ended

    @rule()
    def ends_the_connection(self) -> None:
        self.client.close()
        self.client = self.served.again(self.client)
        self.awaiting, self.keyed, self.failed = None, False, 0

    @precondition(lambda self: self.works)
    @rule()
    def reconnects(self) -> None:
        self.client.reconnect()
        self.awaiting, self.keyed = None, True

    @precondition(lambda self: self.works)
    @rule(name=NAMES, content=CONTENTS)
    def sends_a_file(self, name: str, content: bytes) -> None:
        if not self.keyed or name not in GOOD_NAMES:
            with pytest.raises(peer.GeneralError):
                self.client.send_file(name, content)
        else:
            self.client.send_file(name, content)
        if self.keyed:
            self.awaiting = (name, content) if name in GOOD_NAMES else None

    @precondition(lambda self: self.works and self.keyed)
    @rule(name=NAMES)
    def sends_what_does_not_decrypt(self, name: str) -> None:
        self.client.send_raw(badly_padded(self.client, name))
        assert self.client.codes() == [self.client.generation.general_error]
        self.awaiting = None
        self.failed += name in GOOD_NAMES
        assert self.client.session.ended is (self.failed >= 4)

    @precondition(lambda self: self.works)
    @rule(name=NAMES)
    def says_valid(self, name: str) -> None:
        if self.awaiting is None or self.awaiting[0] != name:
            with pytest.raises(peer.GeneralError):
                self.client.crc_valid(name)
        else:
            self.client.crc_valid(name)
            self.stored[name], self.awaiting = self.awaiting[1], None

    @precondition(lambda self: self.works and self.awaiting is not None)
    @rule(call=st.sampled_from(["fsync", "rename"]))
    def says_valid_while_the_disk_fails(self, call: str) -> None:
        assert self.awaiting is not None
        with disk_failing(call), pytest.raises(peer.GeneralError):
            self.client.crc_valid(self.awaiting[0])
        self.awaiting = None

    @precondition(lambda self: self.works and self.keyed)
    @rule(name=NAMES, times=st.integers(1, 2))
    def says_invalid(self, name: str, times: int) -> None:
        for _ in range(times):
            self.client.crc_invalid(name)
        self.awaiting = None

    @precondition(lambda self: self.works and self.keyed)
    @rule(name=NAMES)
    def gives_up(self, name: str) -> None:
        self.client.crc_abandoned(name)
        self.awaiting = None

    @invariant()
    def keeps_what_it_acknowledged_and_nothing_else(self) -> None:
        assert self.served.stored() == self.stored

    @invariant()
    def stages_what_awaits_its_verdict_and_nothing_else(self) -> None:
        assert len(self.served.staged()) == (self.awaiting is not None)


class ClientsInPackets(Clients):
    """The same with files in packets."""

    generation = "2024c"


TestRequestsInAnyOrder = Clients.TestCase
TestRequestsInAnyOrder.settings = settings(shared, max_examples=20, stateful_step_count=25)
TestPacketsInAnyOrder = ClientsInPackets.TestCase
TestPacketsInAnyOrder.settings = settings(shared, max_examples=20, stateful_step_count=25)

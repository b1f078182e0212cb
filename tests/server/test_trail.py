"""The audit trail tells what clients did over either protocol, and what they were refused."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from server.audit import Audit
from server.repository import Action, Event
from tests.peer.client import PeerClient
from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut, client_key
from tests.peer4.serving import Serving, serving
from tests.peer4.wire import NEVER, SEGMENT, RefusedError
from tests.server.hostile_sessions import private_key

BIG = os.urandom(SEGMENT + 5)


@pytest.fixture(autouse=True)
def written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded need not be waited for."""

    def record(audit: Audit, event: Event) -> None:
        audit._repository.record([event])

    monkeypatch.setattr(Audit, "record", record)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data") as running:
        yield running


def told(server: Serving, *actions: Action) -> list[Event]:
    """What the trail tells of these actions, in order."""
    return [each for each in server.repository.events() if each.action in actions]


def test_registration_and_access_are_told_granted_and_denied(server: Serving) -> None:
    with server.peer() as peer:
        client_id = peer.register()
        peer.connect()
    with server.peer(key=client_key(1)) as other, pytest.raises(RefusedError):
        other.register()
    with server.peer(client_id=client_id, key=client_key(1)) as thief:
        with pytest.raises((ValueError, RefusedError)):
            thief.connect()
        thief.send(wire.PROVE, bytes(32))
        with suppress(StreamCut):
            thief.receive()
    found = [(each.action, each.outcome, each.client) for each in server.repository.events()]
    assert found == [
        (Action.REGISTER, "ok", "alice"),
        (Action.CONNECT, "ok", "alice"),
        (Action.REGISTER, "NameTaken", "alice"),
        (Action.CONNECT, "AccessDenied", None),
    ]
    assert {each.address for each in server.repository.events()} == {"127.0.0.1"}


def test_what_becomes_of_files_is_told_with_their_names_and_sizes(server: Serving) -> None:
    with server.peer() as peer:
        peer.introduce()
        peer.put("small", b"12345")
        peer.upload("big", BIG)
        with pytest.raises(RefusedError):
            peer.put("small", b"other", policy=NEVER)
        peer.get("big")
        peer.rename("small", "renamed")
        peer.remove("renamed")
        with pytest.raises(RefusedError):
            peer.remove("renamed")
    found = [
        (each.outcome, each.subjects, each.target, each.size)
        for each in told(server, Action.UPLOAD, Action.RENAME, Action.REMOVE, Action.DOWNLOAD)
    ]
    assert sorted(found, key=str) == sorted(
        [
            ("ok", ("small",), None, 5),
            ("ok", ("big",), None, len(BIG)),
            ("FileExists", ("small",), None, None),
            ("ok", ("big",), None, len(BIG)),
            ("ok", ("small",), "renamed", None),
            ("ok", ("renamed",), None, None),
            ("FileNotThere", ("renamed",), None, None),
        ],
        key=str,
    )
    assert {each.client for each in told(server, Action.UPLOAD, Action.REMOVE)} == {"alice"}


def test_protocol_3_is_told_of_as_well(server: Serving) -> None:
    with PeerClient(server.port, private_key=private_key(), name="peer") as client:
        client.register()
        client.send_public_key()
        client.send_file("file", b"content")
        client.crc_valid("file")
    name = "peer"
    found = [
        (each.action, each.outcome, each.client, each.subjects)
        for each in server.repository.events()
    ]
    assert found == [
        (Action.REGISTER, "ok", name, ()),
        (Action.CONNECT, "ok", name, ()),
        (Action.UPLOAD, "ok", name, ("file",)),
    ]


def test_a_name_that_no_file_can_have_is_not_in_the_trail(server: Serving) -> None:
    requests: list[Callable[[Peer4], object]] = [
        lambda peer: peer.remove("a\nb"),
        lambda peer: peer.rename("a\nb", "c"),
        lambda peer: peer.get("a\nb"),
    ]
    with server.peer() as peer:
        peer.introduce()
        for request in requests:
            with pytest.raises(RefusedError):
                request(peer)
    found = told(server, Action.REMOVE, Action.RENAME, Action.DOWNLOAD)
    assert {(each.outcome, each.subjects) for each in found} == {("UnsafeName", ())}

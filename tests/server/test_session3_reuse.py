"""Clients that open a connection for every request: served when the operator allows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer import client as peer
from tests.server.hostile_sessions import SessionPeer, Sessions, sessions

CONTENT = b"content"
SECONDS = 60.0


@pytest.fixture
def reusing(tmp_path: Path) -> Iterator[Sessions]:
    with sessions(tmp_path / "data", reuse_keys_seconds=SECONDS) as made:
        yield made


def left(served: Sessions) -> SessionPeer:
    """A client whose connection has ended after the key exchange."""
    client = served.introduced()
    client.close()
    return client


def left_with_file(served: Sessions) -> SessionPeer:
    """A client whose file awaits its verdict, each request on a connection of its own."""
    client = left(served)
    sending = served.again(client)
    sending.send_file("file", CONTENT)
    sending.close()
    return client


def test_a_key_dies_with_its_connection_unless_the_operator_wants_otherwise(tmp_path: Path) -> None:
    with sessions(tmp_path / "data") as served, pytest.raises(peer.GeneralError):
        served.again(left(served)).send_file("file", CONTENT)


def test_a_key_that_is_left_lets_no_disabled_client_in(reusing: Sessions) -> None:
    client = left(reusing)
    assert client.client_id is not None
    reusing.repository.set_disabled(client.client_id, True)
    with pytest.raises(peer.GeneralError):
        reusing.again(client).send_file("file", CONTENT)
    reusing.repository.set_disabled(client.client_id, False)
    reusing.again(client).send_file("file", CONTENT)


def test_each_request_may_have_a_connection_of_its_own(reusing: Sessions) -> None:
    client = reusing.peer()
    client.register()
    client.close()
    keyed = reusing.again(client)
    keyed.send_public_key()
    keyed.close()
    sending = reusing.again(keyed)
    sending.send_file("file", CONTENT)
    sending.close()
    reusing.again(keyed).crc_valid("file")
    assert reusing.stored() == {"file": CONTENT}


def test_a_file_may_be_sent_again_on_further_connections(reusing: Sessions) -> None:
    client = left_with_file(reusing)
    refusing = reusing.again(client)
    refusing.crc_invalid("file")
    refusing.close()
    assert reusing.staged() == []
    again = reusing.again(client)
    again.store("file", CONTENT)
    assert reusing.stored() == {"file": CONTENT}


def test_a_key_is_refused_when_its_time_is_over(reusing: Sessions) -> None:
    client = left(reusing)
    reusing.clock.now += SECONDS
    with pytest.raises(peer.GeneralError):
        reusing.again(client).send_file("file", CONTENT)


def test_each_use_gives_a_key_its_full_time_again(reusing: Sessions) -> None:
    client = left_with_file(reusing)
    for _ in range(3):
        reusing.clock.now += SECONDS - 1
        sending = reusing.again(client)
        sending.send_file("file", CONTENT)
        sending.close()
    reusing.again(client).crc_valid("file")
    assert reusing.stored() == {"file": CONTENT}


def test_a_file_whose_verdict_does_not_come_in_time_is_discarded(reusing: Sessions) -> None:
    left_with_file(reusing)
    assert len(reusing.staged()) == 1
    reusing.clock.now += SECONDS
    reusing.services.key_table.expire()
    assert reusing.staged() == []


def test_a_key_is_refused_to_another_address(reusing: Sessions) -> None:
    client = left(reusing)
    with pytest.raises(peer.GeneralError):
        reusing.again(client, address="127.0.0.2").send_file("file", CONTENT)


def test_a_key_is_refused_to_another_client_of_the_address(reusing: Sessions) -> None:
    client, other = left(reusing), reusing.introduced(name="other")
    thief = reusing.again(client, client_id=other.client_id)
    with pytest.raises(peer.GeneralError):
        thief.send_file("file", CONTENT)


def test_a_reconnect_replaces_the_key_that_was_left(reusing: Sessions) -> None:
    client = left(reusing)
    newer = reusing.again(client)
    newer.reconnect()
    newer.close()
    reusing.again(newer).store("file", CONTENT)
    assert reusing.stored() == {"file": CONTENT}


def test_a_server_that_stops_discards_what_awaits_a_verdict(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", reuse_keys_seconds=SECONDS) as served:
        left_with_file(served)
    assert list((tmp_path / "data" / "staging").iterdir()) == []

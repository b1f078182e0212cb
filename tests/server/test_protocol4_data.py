"""Data connections: what is acknowledged over them is whole, and what breaks off goes on."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.data import DataConnection
from tests.peer4.serving import Serving, reason, serving, until
from tests.peer4.wire import SEGMENT
from tests.server.data_connections import (
    attached,
    begun,
    end,
    ended_connections,
    segments,
    staged,
    stored_by,
)
from tests.server.hostile_segments import BIG

SIZES = (0, 1, 65_537, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5)
Ending = Callable[[Peer4], None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", max_failed_attempts=1000) as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()


# Tickets


def test_a_ticket_opens_one_data_connection(peer: Peer4) -> None:
    ticket = peer.ticket()
    with peer.dial() as first, peer.dial() as second:
        first.open(ticket).accepted()
        assert second.open(ticket).at_end()
        stored_by(peer, first)


def test_a_wrong_ticket_opens_nothing_and_uses_up_nothing(peer: Peer4) -> None:
    ticket = peer.ticket()
    near = [ticket[:at] + bytes([ticket[at] ^ 1]) + ticket[at + 1 :] for at in (0, 15, 31)]
    for wrong in (bytes(32), os.urandom(32), ticket[::-1], *near):
        with peer.dial() as refused:
            assert refused.open(wrong).at_end()
    with peer.dial() as data:
        stored_by(peer, data.open(ticket).accepted())


def test_a_ticket_is_good_for_a_while_only(peer: Peer4) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.tickets.TICKET_SECONDS", 0.0)
        with peer.dial() as late:
            assert late.open(peer.ticket()).at_end()
    with peer.attach() as data:
        stored_by(peer, data)


@pytest.mark.parametrize("ending", [Peer4.close, Peer4.cut])
def test_a_ticket_ends_with_its_control_connection(server: Serving, ending: Ending) -> None:
    with server.peer() as peer:
        ticket = peer.introduce().ticket()
        ending(peer)
        ended_connections(server)
        with peer.dial() as orphan:
            assert orphan.open(ticket).at_end()
    with peer.again() as again, peer.dial() as orphan:
        assert orphan.open(ticket).at_end()
        with again.attach() as data:
            stored_by(again, data)


def test_a_ticket_is_no_good_at_another_server(tmp_path: Path, peer: Peer4) -> None:
    with serving(tmp_path / "other") as other, other.peer() as stranger:
        with stranger.dial() as data:
            assert data.open(peer.ticket()).at_end()
        with peer.dial() as data:
            assert data.open(stranger.introduce().ticket()).at_end()


def test_tickets_that_nobody_uses_are_forgotten_with_their_connection(server: Serving) -> None:
    with server.peer() as peer:
        peer.introduce()
        tickets = {peer.ticket() for _ in range(100)}
        assert len(tickets) == 100
    ended_connections(server)
    assert not server.listener.doors.services4.tickets._issued


def test_the_latest_ticket_is_good_whatever_was_asked_for_before(peer: Peer4) -> None:
    for _ in range(3):
        peer.ticket()
    with peer.attach() as data:
        stored_by(peer, data)


# Content on the data connection


def test_files_of_every_size_are_stored_byte_for_byte(server: Serving) -> None:
    with attached(server) as (peer, data):
        for size in SIZES:
            for kind, announced in (("known", size), ("unknown", None)):
                name, content = f"{kind}/{size}", BIG[:size]
                receipt = peer.upload(name, content, announced=announced, data=data)
                assert (receipt.size, receipt.sha256) == (size, wire.digest(content))
        stored = server.stored()
        assert stored == {f"{kind}/{n}": BIG[:n] for kind in ("known", "unknown") for n in SIZES}
        for name, content in stored.items():
            entry, got = peer.get(name, data=data)
            assert got == content
            assert entry.sha256 == wire.digest(content)
        assert peer.names() == sorted(stored)  # nothing of them came on the control connection
    until(server.is_tidy, "nothing else is kept")


def test_a_file_is_fetched_from_an_offset(server: Serving) -> None:
    with attached(server) as (peer, data):
        peer.upload("f", BIG)
        for offset in range(0, len(BIG), SEGMENT):
            assert peer.get("f", offset, data=data)[1] == BIG[offset:]
        assert reason(lambda: peer.get("f", 4 * SEGMENT, data=data)) == wire.NOT_FOUND
        assert reason(lambda: peer.get("g", data=data)) == wire.NOT_FOUND
        assert peer.get("f", data=data)[1] == BIG


def test_content_travels_on_the_control_connection_too_while_there_is_another(
    server: Serving,
) -> None:
    with attached(server) as (peer, data):
        peer.upload("control", BIG)
        peer.upload("data", BIG, data=data)
        peer.put("put", b"small")
        assert server.stored() == {"control": BIG, "data": BIG, "put": b"small"}


def test_several_uploads_share_a_data_connection(server: Serving) -> None:
    with attached(server) as (peer, data):
        contents = {f"f{number}": BIG[number:] for number in range(4)}
        uploads = {name: begun(peer, name, len(content)) for name, content in contents.items()}
        sealed = [segments(peer, *uploads[name], contents[name]) for name in contents]
        for messages in zip(*sealed, strict=True):
            data.transmit(b"".join(messages))
        for name, (upload_id, _) in uploads.items():
            assert end(peer, upload_id, contents[name]).file_name == name
        assert server.stored() == contents


def test_the_control_connection_works_while_content_flows(server: Serving) -> None:
    content = BIG * 4
    with attached(server) as (peer, data):
        upload_id, salt = begun(peer, "large", len(content))
        sender = threading.Thread(target=data.send_content, args=(upload_id, salt, content))
        sender.start()
        for number in range(100):
            peer.put(f"{number:03}", b"small")
        assert len(peer.names()) == 100
        sender.join()
        assert end(peer, upload_id, content).size == len(content)
        assert peer.get("large", data=data)[1] == content


def test_content_flows_both_ways_at_once(server: Serving) -> None:
    content = BIG * 4
    with attached(server) as (peer, data):
        peer.upload("down", content)
        upload_id, salt = begun(peer, "up", len(content))
        sender = threading.Thread(target=data.send_content, args=(upload_id, salt, content))
        sender.start()
        assert peer.get("down", data=data)[1] == content
        sender.join()
        assert end(peer, upload_id, content).sha256 == wire.digest(content)
        assert server.stored() == {"down": content, "up": content}


def test_an_upload_completed_before_gives_its_receipt_again(server: Serving) -> None:
    with attached(server) as (peer, data):
        upload_id = os.urandom(16)
        receipt = peer.upload("f", BIG, upload_id=upload_id, data=data)
        assert peer.upload("f", BIG, upload_id=upload_id, data=data) == receipt
        assert peer.upload("f", BIG, upload_id=upload_id) == receipt


# The end of an upload, and of connections


def test_an_end_that_overtakes_the_segments_waits_for_them(server: Serving) -> None:
    with attached(server) as (peer, data):
        for held_back in range(len(wire.pieces(BIG)) + 1):
            upload_id, salt = begun(peer, f"f{held_back}")
            messages = segments(peer, upload_id, salt)
            sent = len(messages) - held_back
            data.transmit(b"".join(messages[:sent]))
            request_id = peer.send_end(upload_id, len(BIG), wire.digest(BIG))
            time.sleep(0.1)  # it must wait, however long
            data.transmit(b"".join(messages[sent:]))
            assert peer.stored(request_id).sha256 == wire.digest(BIG)
        assert set(server.stored().values()) == {BIG}


@pytest.mark.parametrize("ending", [DataConnection.close, DataConnection.cut])
def test_an_upload_cut_anywhere_goes_on_over_another_data_connection(
    server: Serving, peer: Peer4, ending: Callable[[DataConnection], None]
) -> None:
    chance = random.Random(os.urandom(8))
    for turn in range(4):
        upload_id, name = os.urandom(16), f"f{turn}"
        cut, held = chance.randrange(SEGMENT), 0
        while cut < len(BIG):
            salt = os.urandom(32)
            offset = peer.begin(upload_id, salt, name, len(BIG))
            assert isinstance(offset, int)
            assert offset >= held
            held = offset
            with peer.attach() as data:
                stream = b"".join(segments(peer, upload_id, salt)[offset // SEGMENT :])
                data.transmit(stream[: max(cut - offset, 0)])
                ending(data)
            assert reason(lambda id_=upload_id: end(peer, id_)) == wire.UNKNOWN_UPLOAD  # type: ignore[misc]
            assert name not in peer.names()
            cut += chance.randrange(1, len(BIG))
        with peer.attach() as data:
            assert peer.upload(name, BIG, upload_id=upload_id, data=data).size == len(BIG)
            assert peer.get(name, data=data)[1] == BIG
    until(server.is_tidy, "nothing else is kept")


def test_whole_segments_are_held_when_the_data_connection_ended_cleanly(
    server: Serving, peer: Peer4
) -> None:
    upload_id, salt = begun(peer)
    with peer.attach() as data:
        data.transmit(b"".join(segments(peer, upload_id, salt)[:2]))
    assert reason(lambda: end(peer, upload_id)) == wire.UNKNOWN_UPLOAD
    salt = os.urandom(32)
    assert peer.begin(upload_id, salt, "f", len(BIG)) == 2 * SEGMENT
    peer.send_content(upload_id, salt, BIG, 2 * SEGMENT)  # without another data connection
    assert end(peer, upload_id).size == len(BIG)
    assert server.stored() == {"f": BIG}


@pytest.mark.parametrize("missing", ["the rest of a segment", "segments"])
def test_a_data_connection_that_stalls_is_not_waited_for_for_ever(
    tmp_path: Path, missing: str
) -> None:
    with serving(tmp_path / "data", read_seconds=0.5) as server, attached(server) as (peer, data):
        upload_id, salt = begun(peer)
        stream = b"".join(segments(peer, upload_id, salt)[:2])
        data.transmit(stream[: -1000 if missing == "the rest of a segment" else None])
        assert reason(lambda: end(peer, upload_id)) == wire.UNKNOWN_UPLOAD
        held = peer.begin(upload_id, os.urandom(32), "f", len(BIG))
        assert held == (SEGMENT if missing == "the rest of a segment" else 2 * SEGMENT)
        with peer.attach() as another:
            assert peer.upload("f", BIG, upload_id=upload_id, data=another).size == len(BIG)
        assert server.stored() == {"f": BIG}


@pytest.mark.parametrize("ending", [Peer4.close, Peer4.cut])
def test_a_data_connection_ends_with_its_control_connection(
    server: Serving, ending: Ending
) -> None:
    with attached(server) as (peer, data):
        upload_id, salt = begun(peer)
        messages = segments(peer, upload_id, salt)
        data.transmit(b"".join(messages[:2]))
        until(lambda: staged(server) == 2 * SEGMENT, "two segments are staged")
        ending(peer)
        assert data.at_end()
        with peer.again() as again:
            assert again.names() == []
            assert again.begin(upload_id, os.urandom(32), "f", len(BIG)) == 2 * SEGMENT
            stored_by(again, None)


@pytest.mark.parametrize("ending", [Peer4.close, Peer4.cut])
def test_a_control_connection_that_ends_while_content_flows_leaves_nothing_visible(
    server: Serving, ending: Ending
) -> None:
    content = BIG * 8
    with attached(server) as (peer, data):
        upload_id, salt = begun(peer, "f", len(content))
        messages = segments(peer, upload_id, salt, content)

        def flow() -> None:
            try:
                for message in messages:
                    data.transmit(message)
            except OSError:
                pass

        flowing = threading.Thread(target=flow)
        flowing.start()
        until(lambda: staged(server) >= SEGMENT, "it flows")
        ending(peer)
        flowing.join()
        with peer.again() as again:
            assert again.names() == []
            assert again.upload("f", content, upload_id=upload_id).size == len(content)
        assert server.stored() == {"f": content}


def test_a_second_data_connection_takes_the_place_of_the_first(server: Serving) -> None:
    with attached(server) as (peer, first):
        stored_by(peer, first, "first")
        with peer.attach() as second:
            assert first.at_end()
            stored_by(peer, second, "second")
            upload_id, salt = begun(peer)
            second.transmit(segments(peer, upload_id, salt)[0])
            with peer.attach() as third:
                assert second.at_end()
                assert peer.upload("f", BIG, upload_id=upload_id, data=third).size == len(BIG)
                assert peer.get("f", data=third)[1] == BIG


def test_everything_goes_on_over_tls_when_the_data_connection_has_ended(server: Serving) -> None:
    with attached(server) as (peer, data):
        peer.upload("f", BIG, data=data)
        data.close()
        ended_connections(server, left=1)
        stored_by(peer, None)
        assert peer.get("f")[1] == BIG


def test_a_download_that_nobody_takes_is_refused_on_the_control_connection(
    tmp_path: Path,
) -> None:
    content = BIG * 8  # more than the sockets hold
    with serving(tmp_path / "data", read_seconds=0.5) as server, attached(server) as (peer, data):
        peer.upload("f", content)
        request_id = peer.send_get("f", os.urandom(32))
        peer.expect(wire.ENTRY, request_id)
        assert peer.receive().code == wire.REFUSED
        with pytest.raises((StreamCut, OSError)):  # noqa: PT012
            while data.receive().code == wire.CONTENT:
                pass
        assert peer.get("f")[1] == content
        with peer.attach() as another:
            assert peer.get("f", data=another)[1] == content


def test_a_download_whose_data_connection_is_cut_is_refused_on_the_control_connection(
    server: Serving,
) -> None:
    content = BIG * 8
    with attached(server) as (peer, data):
        peer.upload("f", content)
        request_id = peer.send_get("f", os.urandom(32))
        peer.expect(wire.ENTRY, request_id)
        data.receive()
        data.cut()
        response = peer.receive()
        assert (response.code, response.request_id) == (wire.REFUSED, request_id)
        assert peer.get("f")[1] == content

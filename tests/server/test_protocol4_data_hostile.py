"""Data connections under attack: nothing is stored but what its client sealed, where it sealed it.

`withstanding` checks after each: an honest client is served, no thread or descriptor is left,
nothing unverified is kept, nothing outside the data directory was touched.
"""

import os
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.data import DataConnection
from tests.peer4.serving import Serving, reason, until, withstanding
from tests.peer4.wire import SEGMENT, RefusedError
from tests.peer4.wiretap import tapped
from tests.server.data_connections import begun, end, segments, staged
from tests.server.hostile_requests4 import CODES, every_request
from tests.server.hostile_segments import BIG, bad_segments

LIMITS = {"max_failed_attempts": 1_000_000, "max_connections_per_address": 1000}
OLDER = b"older"
MESSAGE_BYTES = wire.HEADER_BYTES + 25 + SEGMENT + wire.TAG


def older(server: Serving, name: str = "alice") -> Peer4:
    """A client that has an older file `f`."""
    peer = server.peer(name).open().introduce()
    peer.put("f", OLDER)
    return peer


def goes_on(owner: Peer4, upload_id: bytes) -> None:
    """The older file is there, and the same upload can still succeed on new connections."""
    assert owner.get("f")[1] == OLDER
    with owner.again() as peer, peer.attach() as data:
        assert peer.upload("f", BIG, upload_id=upload_id, data=data).sha256 == wire.digest(BIG)
        assert peer.get("f", data=data)[1] == BIG


# Segments that are not what is due


@pytest.mark.parametrize("what", bad_segments())
def test_a_segment_that_is_not_the_one_due_ends_the_data_connection_and_the_attempt(
    tmp_path: Path, what: str
) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer, peer.attach() as data:
            upload_id, salt = begun(peer, size=None if what == "after_the_final" else len(BIG))
            with suppress(OSError):  # it is closed while we send
                bad_segments()[what](data, peer, upload_id, salt)
            assert data.at_end()
            assert reason(lambda: end(peer, upload_id)) == wire.BAD_SEGMENT
            assert peer.at_end()
        goes_on(owner, upload_id)


def places() -> dict[str, int]:
    """Where a bit may be flipped in the two segments of `BIG[: SEGMENT + 5]`."""
    fields = {
        "version": 0, "code": 1, "code's high byte": 2, "request id": 3, "size": 7,
        "size's high byte": 10, "upload id": 11, "upload id's end": 26, "index": 27,
        "index's high byte": 34, "final": 35, "content": 36, "tag": -1,
    }  # fmt: skip
    second = {f"second {name}": MESSAGE_BYTES + at for name, at in fields.items() if at >= 0}
    first = {name: at if at >= 0 else MESSAGE_BYTES - 1 for name, at in fields.items()}
    return first | second | {"second tag": -1}


@pytest.mark.parametrize("where", places())
def test_a_bit_flipped_on_the_way_is_never_stored(tmp_path: Path, where: str) -> None:
    content = BIG[: SEGMENT + 5]
    with withstanding(tmp_path, read_seconds=0.5, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer, peer.attach() as data:
            upload_id, salt = begun(peer, size=len(content))
            stream = bytearray(b"".join(segments(peer, upload_id, salt, content)))
            stream[places()[where]] ^= 1
            with suppress(OSError):
                data.transmit(bytes(stream))
            if where.endswith("request id"):  # it says nothing about the content
                assert end(peer, upload_id, content).sha256 == wire.digest(content)
                assert owner.get("f")[1] == content
                return
            assert reason(lambda: end(peer, upload_id, content)) in {
                wire.BAD_SEGMENT, wire.UNKNOWN_UPLOAD,
            }  # fmt: skip
        goes_on(owner, upload_id)


def test_segments_of_two_files_are_not_exchanged(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        for moved in (0, 1):
            with owner.again() as peer, peer.attach() as data:
                first, second = begun(peer, "f"), begun(peer, "g")
                sealed = [segments(peer, *upload) for upload in (first, second)]
                id_ = slice(wire.HEADER_BYTES, wire.HEADER_BYTES + 16)
                for index in range(moved):
                    data.transmit(sealed[0][index] + sealed[1][index])
                forged = bytearray(sealed[1][moved])
                forged[id_] = first[0]
                with suppress(OSError):
                    data.transmit(bytes(forged))
                assert data.at_end()
                assert reason(lambda id_=first[0]: end(peer, id_)) == wire.BAD_SEGMENT  # type: ignore[misc]
            assert owner.names() == ["f"]
            goes_on(owner, first[0])
            owner.put("f", OLDER)


@pytest.mark.parametrize("ending", [DataConnection.close, DataConnection.cut])
def test_content_that_is_cut_off_anywhere_is_never_taken_for_the_whole(
    tmp_path: Path, ending: Callable[[DataConnection], None]
) -> None:
    # At every boundary, one byte before and behind it, and in the middle of each segment.
    cuts = {
        max(MESSAGE_BYTES * index // 2 + more, 0)
        for index in range(7)
        for more in ((-1, 0, 1) if index % 2 == 0 else (0,))
    }
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        for at in sorted(cuts):
            for size in (len(BIG), None):
                with owner.again() as peer, peer.attach() as data:
                    upload_id, salt = begun(peer, size=size)
                    data.transmit(b"".join(segments(peer, upload_id, salt))[:at])
                    ending(data)
                    assert reason(lambda id_=upload_id: end(peer, id_)) == (  # type: ignore[misc]
                        wire.UNKNOWN_UPLOAD
                    )
                    held = peer.begin(upload_id, os.urandom(32), "f", size)
                    assert isinstance(held, int)
                    assert held <= at // MESSAGE_BYTES * SEGMENT
                    if ending is DataConnection.close:
                        assert held == at // MESSAGE_BYTES * SEGMENT
                    peer.abandon(upload_id)
            assert owner.get("f")[1] == OLDER


def test_segments_of_one_upload_on_both_connections_never_mix_into_another_content(
    tmp_path: Path,
) -> None:
    chance, reasons = random.Random(os.urandom(8)), set[int]()
    with withstanding(tmp_path, read_seconds=0.5, **LIMITS) as server, older(server) as owner:
        for _ in range(8):
            owner.put("f", OLDER)
            upload_id, outcome = os.urandom(16), OLDER
            with owner.again() as peer, peer.attach() as data:
                salt = os.urandom(32)
                peer.begin(upload_id, salt, "f", len(BIG))
                try:
                    for message in segments(peer, upload_id, salt):
                        chance.choice((peer, data)).transmit(message)
                    assert end(peer, upload_id).sha256 == wire.digest(BIG)
                    outcome = BIG
                except RefusedError as error:
                    reasons.add(error.reason)
                except (StreamCut, OSError):
                    pass
            assert owner.get("f")[1] == outcome
            if outcome == OLDER:
                goes_on(owner, upload_id)
    assert reasons <= {wire.BAD_SEGMENT, wire.UNKNOWN_UPLOAD}


def test_a_segment_on_both_connections_at_once_is_written_once(tmp_path: Path) -> None:
    with withstanding(tmp_path, read_seconds=0.5, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer, peer.attach() as data:
            upload_id, salt = begun(peer)
            messages = segments(peer, upload_id, salt)
            data.transmit(messages[0])
            until(lambda: staged(server) == SEGMENT, "the first one is written")
            peer.transmit(messages[0])
            assert peer.refusal() == wire.BAD_SEGMENT
            assert peer.at_end()
            assert data.at_end()
        goes_on(owner, upload_id)


# Other messages, other people's uploads


def test_nothing_but_segments_is_carried_out_there(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        requests = {
            code: message
            for code, message in every_request(owner).items()
            if code != str(wire.SEGMENT_CODE)
        }
        assert len(requests) == len(CODES) - 1
        others = {
            f"code {code}": wire.message(code, b"") for code in (0, 4, 22, 32769, 32803, 33023)
        }
        others |= {
            f"version {version}": wire.message(wire.SEGMENT_CODE, bytes(41), version=version)
            for version in (0, 3, 5, 255)
        }
        others |= {
            f"size {size}": struct.pack("<BHII", 4, wire.SEGMENT_CODE, 1, size)
            for size in (0, 40, SEGMENT + 42, 2**31, 2**32 - 1)
        }
        others["content"] = wire.message(wire.CONTENT, struct.pack("<QB", 0, 1) + bytes(17))
        others["final 2"] = wire.message(wire.SEGMENT_CODE, bytes(24) + b"\2" + bytes(17))
        others["TLS"] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        others["a ticket again"] = wire.DATA_PREFACE + bytes(32)
        for what, message in (requests | others).items():
            with owner.attach() as data:
                data.transmit(message)
                assert data.at_end(), what
            assert owner.names() == ["f"], what
        assert owner.get("f")[1] == OLDER
        assert [client.name for client in server.repository.clients()] == ["alice"]


def test_what_breaks_the_protocol_there_ends_the_attempt_that_was_on_its_way(
    tmp_path: Path,
) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer, peer.attach() as data:
            upload_id, salt = begun(peer)
            data.transmit(segments(peer, upload_id, salt)[0] + wire.message(99, b""))
            assert data.at_end()
            assert reason(lambda: end(peer, upload_id)) == wire.UNKNOWN_UPLOAD
            assert peer.begin(upload_id, os.urandom(32), "f", len(BIG)) == SEGMENT
        goes_on(owner, upload_id)


def test_segments_do_nothing_for_anothers_upload(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as alice:
        with server.peer("mallory") as mallory:
            mallory.introduce()
            upload_id, salt = begun(alice)
            seen = segments(alice, upload_id, salt)
            with mallory.attach() as data:
                with suppress(OSError):
                    data.transmit(b"".join(seen))
                assert reason(lambda: end(mallory, upload_id)) == wire.UNKNOWN_UPLOAD
            with mallory.attach() as data:  # under an upload of the same id that is his
                mallory.begin(upload_id, salt, "g", len(BIG))
                with suppress(OSError):
                    data.transmit(b"".join(seen))
                assert data.at_end()
                assert reason(lambda: end(mallory, upload_id)) == wire.BAD_SEGMENT
        with server.peer("mallory", client_id=mallory.client_id) as mallory:
            mallory.connect()
            assert mallory.names() == []
        assert reason(lambda: end(alice, upload_id)) == wire.UNKNOWN_UPLOAD  # nothing had come
        assert alice.begin(upload_id, os.urandom(32), "f", len(BIG)) == 0
        goes_on(alice, upload_id)


def test_segments_do_nothing_for_an_upload_of_another_connection_of_the_same_client(
    tmp_path: Path,
) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        with owner.again() as first, owner.again() as second, second.attach() as data:
            upload_id, salt = begun(first)
            with suppress(OSError):
                data.transmit(b"".join(segments(first, upload_id, salt)))
                data.transmit(b"".join(segments(second, upload_id, salt)))
            assert second.names() == ["f"]
            assert staged(server) == 0
            first.send_content(upload_id, salt, BIG)
            assert end(first, upload_id).sha256 == wire.digest(BIG)
        assert owner.get("f")[1] == BIG


def test_an_attempt_that_took_over_is_not_disturbed_by_the_data_connection_of_the_first(
    tmp_path: Path,
) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        with owner.again() as first, owner.again() as second, first.attach() as data:
            upload_id, salt = begun(first)
            messages = segments(first, upload_id, salt)
            data.transmit(messages[0])
            until(lambda: staged(server) == SEGMENT, "the first one is written")
            with second.attach() as other:
                salt = os.urandom(32)
                held = second.begin(upload_id, salt, "f", len(BIG))
                assert held == SEGMENT
                with suppress(OSError):
                    data.transmit(b"".join(messages[1:]))
                assert reason(lambda: end(first, upload_id)) == wire.UNKNOWN_UPLOAD
                other.send_content(upload_id, salt, BIG, SEGMENT)
                assert end(second, upload_id).sha256 == wire.digest(BIG)
        assert owner.get("f")[1] == BIG


# Who sees the connection, or takes it


def test_a_wiretap_sees_neither_content_nor_names_nor_who_it_is(tmp_path: Path) -> None:
    content = b"the same beginning " * 100_000
    name = "salaries-2026.ods"
    with withstanding(tmp_path, **LIMITS) as server, server.peer("alice the client") as peer:
        peer.introduce()
        with tapped(server.port) as tap, peer.dial(tap.port) as data:
            data.open(peer.ticket()).accepted()
            peer.upload(name, content, data=data)
            assert peer.get(name, data=data)[1] == content
            data.close()
        assert peer.client_id is not None
        assert peer.secret
        for secret in (
            content[:16], name.encode(), peer.name.encode(), peer.client_id, peer.secret,
            peer.receipt_key, peer.client_id.hex().encode(),
        ):  # fmt: skip
            assert secret not in tap.seen
        assert len(tap.seen) > 2 * len(content)


def test_a_recorded_data_connection_replayed_does_nothing(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer:
            with peer.attach() as data:
                upload_id = os.urandom(16)
                peer.upload("f", BIG, upload_id=upload_id, data=data)
                recorded = bytes(data.sent)
            with peer.dial() as replay:  # while its control connection is there
                with suppress(OSError):
                    replay.transmit(recorded)
                assert replay.at_end()
        owner.remove("f")
        with owner.dial() as replay:  # and when it is not
            with suppress(OSError):
                replay.transmit(recorded)
            assert replay.at_end()
        with owner.again() as peer, peer.attach() as data:  # behind a good ticket
            begun_id, _ = begun(peer)
            recorded = recorded[48:].replace(upload_id, begun_id)
            with suppress(OSError):
                data.transmit(recorded)
            assert data.at_end()
            assert reason(lambda: end(peer, begun_id)) == wire.BAD_SEGMENT
        assert owner.names() == []


def test_who_takes_a_stolen_ticket_can_neither_seal_nor_open(tmp_path: Path) -> None:
    with withstanding(tmp_path, read_seconds=0.5, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer:
            ticket = peer.ticket()
            with peer.dial() as thief, peer.dial() as honest:
                thief.open(ticket).accepted()
                assert honest.open(ticket).at_end()
                # He knows the ids and salts of the client, and everything but its secret.
                salt = os.urandom(32)
                request_id = peer.send_get("f", salt)
                entry, _ = wire.read_entry(peer.expect(wire.ENTRY, request_id))
                sealed = thief.expect(wire.CONTENT)
                assert OLDER not in sealed
                assert peer.client_id is not None
                for secret in (bytes(32), os.urandom(32), ticket, peer.fingerprint):
                    guess = wire.content_key(
                        secret, salt, wire.TO_CLIENT, peer.client_id, entry.upload_id
                    )
                    with pytest.raises(wire.NotAuthentic):
                        wire.unseal(guess, entry.upload_id, 0, sealed[9:], final=True)
                upload_id, salt = begun(peer)
                guess = wire.content_key(
                    os.urandom(32), salt, wire.TO_SERVER, peer.client_id, upload_id
                )
                forged = wire.seal(guess, upload_id, 0, BIG[:SEGMENT], final=False)
                thief.segment(upload_id, 0, forged, final=False)
                assert thief.at_end()
                assert reason(lambda: end(peer, upload_id)) == wire.BAD_SEGMENT
        goes_on(owner, upload_id)


def test_what_the_server_sealed_is_no_segment(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        with owner.again() as peer, peer.attach() as data:
            salt, upload_id = os.urandom(32), os.urandom(16)
            request_id = peer.send_get("f", salt)
            peer.expect(wire.ENTRY, request_id)
            content = data.expect(wire.CONTENT, request_id)
            peer.begin(upload_id, salt, "g", len(OLDER))
            data.send(wire.SEGMENT_CODE, upload_id + content)
            assert data.at_end()
            assert reason(lambda: end(peer, upload_id, OLDER)) == wire.BAD_SEGMENT
        assert owner.names() == ["f"]


# Noise and crowds


def test_random_bytes_behind_a_good_ticket_are_survived(tmp_path: Path) -> None:
    chance = random.Random(os.urandom(8))
    with withstanding(tmp_path, read_seconds=0.5, **LIMITS) as server, older(server) as owner:
        for turn in range(30):
            with owner.attach() as data:
                noise = chance.randbytes(chance.randrange(1, 3000))
                if turn % 2:  # get past the header
                    size = chance.randrange(41, 3000)
                    noise = struct.pack("<BHII", 4, wire.SEGMENT_CODE, 1, size) + noise
                with suppress(OSError):
                    data.transmit(noise)
        with owner.again() as looking:
            assert looking.get("f")[1] == OLDER


def test_segments_of_uploads_that_nobody_began_take_no_memory(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner, owner.attach() as data:
        with suppress(OSError):
            for _ in range(300):
                data.segment(os.urandom(16), 0, bytes(17), final=True)
        data.close()
        assert owner.names() == ["f"]
        assert server.is_tidy()


def test_data_connections_one_after_the_other_leave_nothing(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, older(server) as owner:
        opened = [owner.attach() for _ in range(50)]
        with owner.attach() as last:
            assert all(data.at_end() for data in opened)
            until(lambda: len(server.listener._places) == 2, "all but the last have ended")
            owner.upload("g", BIG, data=last)
        for data in opened:
            data.cut()

"""Challenges and proofs, what is served before and after, and bans."""

import hashlib
import os
import struct
import time
from pathlib import Path

import pytest

from server.repository import Client, RepositoryError
from tests.peer.client import PeerClient
from tests.peer4 import wire
from tests.peer4.client import Peer4, client_key, public_der
from tests.peer4.serving import Serving, serving, until
from tests.peer4.wire import RefusedError
from tests.server.access.registering import refused_registration
from tests.server.hostile_sessions import private_key

OLD_ID = b"\xaa" * 16

REQUESTS_BEHIND_THE_DOOR = {
    "begin": (wire.BEGIN, bytes(48) + struct.pack("<QqHB", 1, 0, 0, 2) + wire.text("a")),
    "segment": (wire.SEGMENT_CODE, bytes(16) + struct.pack("<QB", 0, 1) + bytes(17)),
    "end": (wire.END, bytes(56)),
    "put": (wire.PUT, wire.put(bytes(32), bytes(16), [wire.Small("a", b"x", bytes(16))])),
    "abandon": (wire.ABANDON, bytes(16)),
    "attach": (wire.ATTACH, b""),
    "list": (wire.LIST, bytes(4) + struct.pack("<H", 1)),
    "stat": (wire.STAT, wire.text("a")),
    "get": (wire.GET, bytes(40) + wire.text("a")),
    "remove": (wire.REMOVE, wire.text("a")),
    "rename": (wire.RENAME, b"\0" + wire.text("a") + wire.text("b")),
}


# Proof


def connect_steps(peer: Peer4, proof: bytes | None = None) -> list[object]:
    """What somebody sees who tries to connect with a wrong proof."""
    steps: list[object] = []
    challenge = peer.challenge()
    steps.append(len(challenge))
    peer.send(wire.PROVE, os.urandom(32) if proof is None else proof)
    response = peer.receive()
    steps.extend((response.code, response.payload, peer.at_end()))
    return steps


def test_unknown_id_disabled_client_and_wrong_proof_look_the_same(server: Serving) -> None:
    with server.peer("known") as known:
        known.register()
    with server.peer("disabled") as disabled:
        server.repository.set_disabled(disabled.register(), disabled=True)
    seen = []
    for client_id in (known.client_id, disabled.client_id, os.urandom(16), bytes(16)):
        with server.peer(client_id=client_id) as peer:
            seen.append(connect_steps(peer))
    assert all(steps == seen[0] for steps in seen)
    assert seen[0][0] == 384
    assert seen[0][3] is True


def test_a_disabled_client_does_not_get_a_challenge_for_its_key(server: Serving) -> None:
    with server.peer() as peer:
        server.repository.set_disabled(peer.register(), disabled=True)
        with pytest.raises(ValueError, match=r"."):
            peer.proof(peer.challenge())


def test_a_client_that_registered_over_protocol_3_looks_like_nobody(server: Serving) -> None:
    with PeerClient(server.port, private_key=private_key()) as older:
        older.register()
        older.send_public_key()
    with server.peer("peer", client_id=older.known_id) as peer:
        assert len(peer.challenge()) == 384
        peer.send(wire.PROVE, bytes(32))
        assert peer.refusal() == wire.ACCESS_DENIED


def test_a_client_is_remembered_as_seen_when_it_has_proved_itself(server: Serving) -> None:
    server.repository.add_client(Client(OLD_ID, "alice", 1, 1, public_der(client_key())))
    with server.peer("alice", client_id=OLD_ID) as peer:
        peer.challenge()
        seen = server.repository.find_client(OLD_ID)
        assert seen is not None
        assert seen.last_seen == 1
        peer.connect()

    def remembered() -> bool:
        seen = server.repository.find_client(OLD_ID)
        assert seen is not None
        assert (seen.registered_at, seen.wrapped_aes_key) == (1, None)
        return abs(seen.last_seen - time.time()) < 60

    until(remembered, "the client is remembered as seen")


def test_a_client_gets_at_its_files_where_the_database_cannot_be_written(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise RepositoryError("database or disk is full")

    with server.peer() as peer:
        peer.register()
        peer.connect()
        peer.put("report.txt", b"content")
        for change in ("_write", "_change"):
            monkeypatch.setattr(type(server.repository), change, full)
        with peer.twin() as again:
            again.connect()
            assert again.names() == ["report.txt"]
            assert again.get("report.txt")[1] == b"content"


def test_a_client_that_is_disabled_after_its_challenge_is_not_let_in(server: Serving) -> None:
    with server.peer() as peer:
        client_id = peer.register()
        proof = peer.proof(peer.challenge())
        server.repository.set_disabled(client_id, disabled=True)
        with pytest.raises(RefusedError) as caught:
            peer.prove(proof)
        assert caught.value.reason == wire.ACCESS_DENIED


def test_a_recorded_proof_is_worth_nothing_on_another_connection(server: Serving) -> None:
    with server.peer() as first:
        first.register()
        proof = first.proof(first.challenge())
        first.prove(proof)
        with first.twin() as second:
            assert connect_steps(second, proof)[1] == wire.REFUSED
        # nor the answer to a challenge that was replaced by another one
        with first.twin() as third:
            stale = third.proof(third.challenge())
            third.challenge()
            with pytest.raises(RefusedError) as caught:
                third.prove(stale)
            assert caught.value.reason == wire.ACCESS_DENIED


def test_a_proof_is_tried_once_for_each_challenge(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
        with pytest.raises(RefusedError) as caught:
            peer.prove(bytes(32))
        assert caught.value.reason == wire.PROTOCOL
        assert peer.at_end()


def test_two_challenges_are_never_the_same(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
        challenges = [peer.challenge() for _ in range(10)]
        secrets_seen = {peer.proof(challenge) for challenge in challenges}
    assert len(set(challenges)) == len(secrets_seen) == 10


def test_a_challenge_relayed_under_another_certificate_does_not_open(
    tmp_path: Path, server: Serving
) -> None:
    """The man in the middle shows his own certificate and passes the challenge on."""
    with serving(tmp_path / "middle") as middle, server.peer() as behind:
        client_id = behind.register()
        relayed = behind.challenge()
        with middle.peer(client_id=client_id) as victim:
            assert victim.fingerprint != behind.fingerprint
            with pytest.raises(ValueError, match=r"."):
                victim.proof(relayed)
        # Even a victim that computes the proof over what it saw, with the secret, is no help.
        behind.proof(relayed)
        wrong = hashlib.sha256(behind.secret + b"another fingerprint").digest()
        with pytest.raises(RefusedError):
            behind.prove(wrong)


def test_anothers_key_does_not_open_a_challenge(server: Serving) -> None:
    with server.peer() as alice:
        alice.register()
        with Peer4(server.port, key=client_key(1), client_id=alice.client_id) as mallory:  # noqa: SIM117
            with pytest.raises(ValueError, match=r"."):
                mallory.proof(mallory.challenge())


# Order


@pytest.mark.parametrize("request_name", REQUESTS_BEHIND_THE_DOOR)
def test_nothing_is_served_before_the_proof(server: Serving, request_name: str) -> None:
    code, payload = REQUESTS_BEHIND_THE_DOOR[request_name]
    for registered in (False, True):
        with server.peer(f"somebody {registered}") as peer:
            if registered:
                peer.register()
                peer.challenge()
            peer.send(code, payload)
            assert peer.refusal() == wire.PROTOCOL
            assert peer.at_end()
    assert server.is_tidy()


def test_who_has_proved_nothing_is_given_no_memory_for_a_large_message(server: Serving) -> None:
    for code in (wire.SEGMENT_CODE, wire.PUT):
        with server.peer() as peer:
            peer.transmit(struct.pack("<BHII", 4, code, 5, wire.MAX_PAYLOAD))
            assert peer.refusal() == wire.PROTOCOL
            assert peer.at_end()


def test_nobody_introduces_themselves_twice(server: Serving) -> None:
    with server.peer() as first:
        first.introduce()
        der = public_der(first.key)
        register = wire.text("b") + wire.text("") + struct.pack("<H", len(der)) + der
        assert first.client_id is not None
        for code, payload in (
            (wire.REGISTER, register), (wire.CONNECT, first.client_id), (wire.PROVE, bytes(32)),
        ):  # fmt: skip
            peer = first.again()
            peer.send(code, payload)
            assert peer.refusal() == wire.PROTOCOL
            assert peer.at_end()
            peer.close()


# Bans


def test_an_address_that_fails_too_often_is_turned_away_for_a_while(tmp_path: Path) -> None:
    with serving(tmp_path / "data", max_failed_attempts=3, ban_seconds=2.0) as server:
        with server.peer() as honest:
            honest.register()
        with server.peer() as before_the_ban:
            before_the_ban.name = "early"
            before_the_ban.introduce()
            for _ in range(3):
                with honest.twin() as peer:
                    assert connect_steps(peer)[1] == wire.REFUSED
            for code, payload in (
                (wire.CONNECT, bytes(16)),
                (wire.PROVE, bytes(32)),
                (wire.REGISTER, wire.text("x") + wire.text("") + struct.pack("<H", 0)),
            ):
                with honest.twin() as peer:
                    peer.send(code, payload)
                    with pytest.raises(RefusedError) as caught:
                        peer.expect(0)
                    assert caught.value.reason == wire.TOO_MANY
                    assert 1 <= caught.value.retry_after <= 2
                    assert peer.at_end()
            # who is in stays in, and other addresses are not concerned
            before_the_ban.put("still", b"here")
            with Peer4(server.port, "else", source="127.0.0.2") as elsewhere:
                elsewhere.introduce()

        def let_in_again() -> bool:
            try:
                with honest.twin() as peer:
                    peer.connect()
            except RefusedError:
                time.sleep(0.1)
                return False
            return True

        until(let_in_again, "the ban ends")


def test_failed_registrations_count_too(tmp_path: Path) -> None:
    with serving(tmp_path / "data", registration="token", max_failed_attempts=2) as server:
        for _ in range(2):
            assert refused_registration(server, "guess")[0] == wire.ACCESS_DENIED
        with server.peer() as peer, pytest.raises(RefusedError) as caught:
            peer.register("guess")
        assert caught.value.reason == wire.TOO_MANY

"""Who gets in over protocol 4: registration, proof, bans, TLS and the certificate."""

import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from server.certificate import Certificate
from server.repository import Client, RepositoryError, Token
from tests.peer.client import PeerClient
from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut, client_key, public_der, tls_context
from tests.peer4.serving import ServerProcess4, Serving, serves_honest, serving, until
from tests.peer4.wire import RefusedError
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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", max_failed_attempts=1000) as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", registration="token", max_failed_attempts=1000) as running:
        yield running


def add_token(server: Serving, name: str | None = None, seconds: int = 60) -> str:
    token = secrets.token_urlsafe(32)
    now = int(time.time())
    digest = hashlib.sha256(token.encode()).digest()
    server.repository.add_token(Token(digest, name, now + seconds, now))
    return token


def refused_registration(server: Serving, token: str, name: str = "alice") -> tuple[int, int, str]:
    with server.peer(name, key=client_key(1)) as peer:  # the same key would be the same client
        with pytest.raises(RefusedError) as caught:
            peer.register(token)
        refused = caught.value
        assert (refused.reason != wire.ACCESS_DENIED) or peer.at_end()
        return refused.reason, refused.retry_after, refused.text


# Registration


def test_where_registration_is_open_anybody_gets_an_id_and_connects(server: Serving) -> None:
    with server.peer("Ålice") as peer:
        client_id = peer.register()
        now, name = peer.prove(peer.proof(peer.challenge()))
    assert name == "Ålice"
    assert client_id[0] != 0x16
    assert abs(now - time.time()) < 5


def test_a_name_is_given_once(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
    assert refused_registration(server, "")[0] == wire.NAME_TAKEN


def test_the_connection_goes_on_after_a_taken_name(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
        with pytest.raises(RefusedError):
            peer.register(public_key=public_der(client_key(1)))
        peer.name = "bob"
        peer.register()
        peer.connect()


@pytest.mark.parametrize("name", [" a", "a ", "a\x07", "a\u202eb", "a\u2028b"])
def test_an_unsafe_client_name_is_refused(server: Serving, name: str) -> None:
    assert refused_registration(server, "", name)[0] == wire.UNSAFE_NAME


def test_a_token_registers_exactly_one_client(guarded: Serving) -> None:
    token = add_token(guarded)
    with guarded.peer() as peer:
        peer.register(token)
        peer.connect()
    assert refused_registration(guarded, token, "bob")[0] == wire.ACCESS_DENIED


def test_of_two_who_use_a_token_at_once_one_gets_in(guarded: Serving) -> None:
    for turn in range(5):
        token = add_token(guarded)
        barrier = threading.Barrier(4)

        def register(number: int, token: str = token, turn: int = turn,
                     barrier: threading.Barrier = barrier) -> bool:  # fmt: skip
            with guarded.peer(f"client {turn} {number}") as peer:
                barrier.wait()
                try:
                    peer.register(token)
                except RefusedError as error:
                    if error.reason != wire.ACCESS_DENIED:
                        raise
                    return False
                return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(register, range(4))) == 1


def test_every_bad_token_and_closed_registration_get_the_same_answer(tmp_path: Path) -> None:
    answers = set()
    with serving(tmp_path / "token", registration="token") as guarded:
        used = add_token(guarded)
        with guarded.peer("first") as peer:
            peer.register(used)
        for token in (
            "", "x", used, used.upper(), add_token(guarded, seconds=-1),
            add_token(guarded, name="bob"), secrets.token_urlsafe(32), "t" * 60_000,
        ):  # fmt: skip
            answers.add(refused_registration(guarded, token))
        # A taken name is not told to who has no good token.
        answers.add(refused_registration(guarded, "x", "first"))
    with serving(tmp_path / "closed", registration="closed") as closed:
        answers.add(refused_registration(closed, ""))
        answers.add(refused_registration(closed, add_token(closed)))
    assert len(answers) == 1
    assert answers.pop()[0] == wire.ACCESS_DENIED


def test_a_repeated_registration_with_the_same_key_gets_the_same_id(guarded: Serving) -> None:
    token = add_token(guarded)
    ids = set()
    for _ in range(3):
        with guarded.peer() as peer:
            ids.add(peer.register(token))
    assert len(ids) == 1


def test_a_taken_name_is_told_after_a_good_token_which_stays_good(guarded: Serving) -> None:
    with guarded.peer() as peer:
        peer.register(add_token(guarded))
    token = add_token(guarded)
    assert refused_registration(guarded, token, "alice")[0] == wire.NAME_TAKEN
    with guarded.peer("bob") as peer:
        peer.register(token)


def test_a_token_that_names_somebody_registers_them_alone(guarded: Serving) -> None:
    token = add_token(guarded, name="bob")
    assert refused_registration(guarded, token, "alice")[0] == wire.ACCESS_DENIED
    with guarded.peer("bob") as peer:
        peer.register(token)


def _keys_that_are_none() -> dict[str, bytes]:
    good = public_der(client_key())
    key = serialization.load_der_public_key(good)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def der(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
        return private.public_key().public_bytes(*spki)

    return {
        "empty": b"",
        "noise": bytes(range(200)),
        "elliptic": der(ec.generate_private_key(ec.SECP256R1())),
        "2048 bits": der(rsa.generate_private_key(65537, 2048)),
        "exponent 3": der(rsa.generate_private_key(3, 3072)),
        "PEM": key.public_bytes(serialization.Encoding.PEM, spki[1]),
        "PKCS 1": key.public_bytes(spki[0], serialization.PublicFormat.PKCS1),
        "private": client_key().export_key("DER", pkcs=8),
        "longer": good + b"\0",
        "shorter": good[:-1],
    }  # fmt: skip


def test_only_a_plain_rsa_3072_key_is_registered(server: Serving) -> None:
    for what, der in _keys_that_are_none().items():
        with server.peer() as peer, pytest.raises(RefusedError) as caught:
            peer.register(public_key=der)
        assert caught.value.reason == wire.ACCESS_DENIED, what
    assert list(server.repository.clients()) == []


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


# TLS


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("eft/5", "eft/40")])
def test_without_the_right_alpn_name_nothing_is_served(
    server: Serving, alpn: tuple[str, ...]
) -> None:
    peer = server.peer()
    try:
        peer.open(alpn)
        with pytest.raises((StreamCut, OSError)):
            peer.register()
    except OSError:
        pass  # refused in the handshake is as good
    finally:
        peer.close()
    assert list(server.repository.clients()) == []
    serves_honest(server)


def test_the_right_alpn_name_among_others_is_chosen(server: Serving) -> None:
    peer = server.peer().open(("http/1.1", "eft/4"))
    assert peer.tls.selected_alpn_protocol() == "eft/4"
    peer.introduce()
    peer.close()


def test_tls_1_2_is_refused(server: Serving) -> None:
    context = tls_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:  # noqa: SIM117
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
            context.wrap_socket(plain)
    serves_honest(server)


def test_tls_1_3_is_what_is_spoken_and_no_session_is_resumed(server: Serving) -> None:
    with server.peer() as peer:
        peer.introduce()
        peer.put("a", b"a")
        assert peer.tls.version() == "TLSv1.3"
        assert peer.tls.session is None or not peer.tls.session.has_ticket


def test_half_handshakes_time_out(tmp_path: Path) -> None:
    with serving(tmp_path / "data", handshake_seconds=0.5, idle_seconds=0.5) as server:
        silent = socket.create_connection(("127.0.0.1", server.port), 10)
        hello = socket.create_connection(("127.0.0.1", server.port), 10)
        hello.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        anonymous = server.peer().open()
        registered = server.peer("b").open()
        registered.register()
        challenged = server.peer("c").open()
        challenged.register()
        challenged.challenge()
        with silent, hello:
            assert silent.recv(1) == b""
            while hello.recv(100):
                pass
        for peer in (anonymous, registered, challenged):
            assert peer.at_end()
            peer.close()
        serves_honest(server)


def test_a_connection_that_is_in_outlives_the_time_for_the_handshake(tmp_path: Path) -> None:
    with serving(tmp_path / "data", handshake_seconds=0.4) as server, server.peer() as peer:
        peer.introduce()
        time.sleep(0.6)
        peer.put("late", b"late")


# Protocol 3 on the same port


def _protocol_3(port: int, host: str = "127.0.0.1") -> bytes:
    registration = bytes(16) + b"\3" + struct.pack("<HI", 1025, 255) + b"old".ljust(255, b"\0")
    with socket.create_connection((host, port), 10) as connection:
        connection.sendall(registration)
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b""


def test_protocol_3_is_served_on_the_same_port_of_loopback(server: Serving) -> None:
    serves_honest(server)
    assert _protocol_3(server.port)[:3] == b"\3" + struct.pack("<H", 1600)


@pytest.mark.parametrize("allowed", [False, True])
def test_elsewhere_protocol_3_is_served_only_where_it_is_allowed(
    tmp_path: Path, allowed: bool
) -> None:
    with serving(tmp_path / "data", host="0.0.0.0", allow_protocol_3=allowed) as server:  # noqa: S104
        assert bool(_protocol_3(server.port)) is allowed
        serves_honest(server)


# The certificate


def test_the_certificate_outlives_the_server(tmp_path: Path) -> None:
    seen = set()
    for _ in range(2):
        with serving(tmp_path / "data") as server, server.peer() as peer:
            seen.add(peer.fingerprint)
    assert len(seen) == 1


def test_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        serves_honest(server)
    for name in ("certificate.key", "receipt.key"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


def _pair(directory: Path) -> tuple[Path, Path]:
    directory.mkdir()
    Certificate.own(directory)
    return directory / "certificate.pem", directory / "certificate.key"


def _fingerprint(port: int) -> bytes:
    with Peer4(port) as peer:
        return peer.fingerprint


def test_sighup_takes_a_new_certificate_and_keeps_the_old_one_when_it_is_broken(
    tmp_path: Path,
) -> None:
    chain, key = _pair(tmp_path / "used")
    newer_chain, newer_key = _pair(tmp_path / "newer")
    arguments = ("--certificate", str(chain), "--certificate-key", str(key))
    with ServerProcess4(tmp_path / "data", *arguments) as server:
        first = _fingerprint(server.port)
        held = Peer4(server.port).open().introduce()

        shutil.copy(newer_chain, chain)  # the key does not fit it
        server.signal(signal.SIGHUP)
        until(lambda: "certificate in use stays" in server.log, "the reload fails")
        assert _fingerprint(server.port) == first

        chain.write_text("nothing in PEM")
        server.signal(signal.SIGHUP)
        until(lambda: server.log.count("certificate in use stays") == 2, "the reload fails")
        chain.unlink()
        server.signal(signal.SIGHUP)
        until(lambda: server.log.count("certificate in use stays") == 3, "the reload fails")
        with held.again() as again:
            assert again.fingerprint == first

        shutil.copy(newer_chain, chain)
        shutil.copy(newer_key, key)
        server.signal(signal.SIGHUP)
        until(lambda: _fingerprint(server.port) != first, "the reload succeeds")
        held.put("before", b"goes on")
        held.close()
        with held.twin() as anew:
            anew.connect()
            assert anew.get("before")[1] == b"goes on"
        server.signal(signal.SIGTERM)
        assert server.status() == 0
        assert re.search("Traceback", server.log) is None


def test_a_key_that_others_can_read_or_that_wants_a_password_is_refused(tmp_path: Path) -> None:
    chain, key = _pair(tmp_path / "used")
    certificate = Certificate(chain, key)
    in_use = certificate.current
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.chmod(0o644)
    with pytest.raises(Exception, match="open to others"):
        certificate.reload()
    key.chmod(0o600)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(Exception, match="certificate"):
        certificate.reload()
    assert certificate.current == in_use

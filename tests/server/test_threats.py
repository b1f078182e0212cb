"""One test for each weakness of protocol 3 that docs/threat-model.md says our server removes.

Most attacks have further variants in `test_session3*.py` and `test_hostile_*.py`; here each of them
is carried out once, as the document tells it."""

import base64
import logging
import os
import socket
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from server.logs import set_up
from server.storage import DirectoryStorage
from tests.peer import client as peer
from tests.peer import crypto, wire
from tests.peer.client import PeerClient
from tests.peer.generations import GENERATIONS
from tests.server.hostile_doubles import listing
from tests.server.hostile_sessions import SessionPeer, badly_padded, private_key, sessions
from tests.server.hostile_surroundings import (
    PeerFrom,
    closed_by_server,
    serves_honest,
    withstanding,
)
from tests.server.running import running

SECRET = b"The vote is on Thursday, and nobody may know before. " * 4

every_generation = pytest.mark.parametrize("generation", GENERATIONS)


def shared(generation: str) -> str:
    return generation if generation in {"2023b", "2024a"} else "2024a"


def raw_answer(client: SessionPeer, request: bytes) -> bytes:
    """What the server answers, byte for byte."""
    client.send_raw(request)
    answer = bytes(client.answers)
    client.answers.clear()
    return answer


# Oracles


@every_generation
def test_recorded_ciphertext_decrypts_on_no_other_connection(
    tmp_path: Path, generation: str
) -> None:
    with sessions(tmp_path / "data", generation_1025=shared(generation)) as served:
        victim = served.introduced(generation)
        recorded = victim.file_requests("file", SECRET)[0]
        altered = recorded[:-20] + bytes([recorded[-20] ^ 1]) + recorded[-19:]
        attacker = served.again(victim)
        # Whether the padding holds or not, the answer is the same: there is no key to try it with.
        refusal = raw_answer(attacker, badly_padded(victim))
        assert raw_answer(attacker, recorded) == raw_answer(attacker, altered) == refusal
        victim.store("file", SECRET)  # its own connection is not disturbed


def test_recorded_ciphertext_has_no_checksum_on_the_victims_next_connection(
    tmp_path: Path,
) -> None:
    with sessions(tmp_path / "data") as served:
        victim = served.introduced()
        recorded = victim.file_requests("file", SECRET)[0]
        checksum = victim.send_file("file", SECRET).checksum
        victim.close()
        later = served.again(victim)
        later.reconnect()
        assert later.aes_key != victim.aes_key
        assert checksum.to_bytes(4, "little") not in raw_answer(later, recorded)


def test_a_padding_oracle_gets_four_answers(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        client = PeerClient(server.port, private_key=private_key())
        with client:
            client.register()
            client.send_public_key()
            client.sock.sendall(badly_padded(client) * 4)
            assert [client.read_response()[1] for _ in range(4)] == [2107] * 4
            assert closed_by_server(client.sock)


def under_a_wrong_key(client: SessionPeer) -> bytes:
    """A file under a key that does not decrypt it; one in 256 would by chance."""
    assert client.aes_key is not None
    while True:
        content = crypto.encrypt(os.urandom(16), SECRET)
        try:
            crypto.decrypt(client.aes_key, content)
        except crypto.ContentError:
            header = wire.FILE_HEADER.pack(len(content), b"kept".ljust(255, b"\0"))
            return client.request(client.generation.send_file, header + content)


def test_every_failed_file_has_the_same_answer(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", max_files_per_client=1) as served:
        other = served.introduced(name="other")
        client = served.introduced()
        client.store("kept", SECRET)
        content = client.file_requests("kept", SECRET)[0]
        failures = {
            "bad padding": badly_padded(client, "kept"),
            "no whole block": client.request(
                1103, wire.FILE_HEADER.pack(17, b"kept".ljust(255, b"\0")) + bytes(17)
            ),
            "bad name": client.file_requests("../kept", SECRET)[0],
            "quota": client.file_requests("more", SECRET)[0],
            "unknown id": bytes(16) + content[16:],
            "another client's id": other.known_id + content[16:],
            "wrong key": under_a_wrong_key(client),
        }
        refusal = wire.response(2107)
        answers = {name: raw_answer(client, request) for name, request in failures.items()}
        assert answers == dict.fromkeys(failures, refusal)
        assert raw_answer(served.peer(), content) == refusal  # and without a key


def test_two_connections_of_a_client_never_share_a_key(tmp_path: Path) -> None:
    with sessions(tmp_path / "data") as served:
        client = served.introduced()
        keys = [client.aes_key] + [served.again(client).reconnect() for _ in range(20)]
        assert len(set(keys)) == len(keys)


# Identities


@pytest.mark.parametrize("known", ["name", "id", "both"])
def test_nobody_puts_a_key_of_his_own_under_anothers_identity(tmp_path: Path, known: str) -> None:
    with sessions(tmp_path / "data") as served:
        victim = served.introduced()
        thief = served.peer(
            name=b"thief" if known == "id" else victim.name,
            client_id=None if known == "name" else victim.client_id,
            private_key=crypto.make_key(),
        )
        with pytest.raises(peer.GeneralError):
            thief.send_public_key()
        served.again(victim).reconnect()


@pytest.mark.parametrize("known", ["name", "id"])
def test_nobody_reconnects_by_id_or_name_alone(tmp_path: Path, known: str) -> None:
    with sessions(tmp_path / "data") as served:
        victim = served.introduced()
        thief = served.peer(
            name=b"thief" if known == "id" else victim.name,
            client_id=bytes(16) if known == "name" else victim.client_id,
        )
        with pytest.raises(peer.ReconnectRefused):
            thief.reconnect()


def test_who_reconnects_with_anothers_id_and_name_cannot_open_the_key(tmp_path: Path) -> None:
    with sessions(tmp_path / "data") as served:
        victim = served.introduced()
        thief = served.again(victim)
        thief.private_key = crypto.make_key()
        with pytest.raises(ValueError, match="Decryption failed"):
            thief.reconnect()


def test_a_verdict_concerns_only_the_file_that_this_connection_sent(tmp_path: Path) -> None:
    with sessions(tmp_path / "data") as served:
        victim, attacker = served.introduced(name="victim"), served.introduced(name="attacker")
        victim.send_file("file", SECRET)
        forged = attacker.name_request(1104, "file")
        assert raw_answer(attacker, forged) == wire.response(2107)
        assert raw_answer(attacker, victim.known_id + forged[16:]) == wire.response(2107)
        assert served.stored() == {}


# Resources


def test_a_file_name_leads_nowhere(tmp_path: Path) -> None:
    with sessions(tmp_path / "data") as served:
        client = served.introduced()
        before = listing(tmp_path)
        for name in ("../../../../../etc/cron.d/x", "/etc/passwd", "C:\\x", "CON", "..", "a/b"):
            with pytest.raises(peer.GeneralError):
                client.send_file(name, SECRET)
        assert listing(tmp_path) == before


def test_an_announced_size_takes_no_memory(tmp_path: Path) -> None:
    with sessions(tmp_path / "data") as served:
        client = served.introduced()
        size = 2**32 - 1 - wire.FILE_HEADER.size
        tracemalloc.start()
        try:
            client.send_raw(
                wire.REQUEST_HEADER.pack(client.known_id, 3, 1103, 2**32 - 1)
                + wire.FILE_HEADER.pack(size, b"file".ljust(255, b"\0"))
            )
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert client.session.content_wanted == size
        assert peak < 4 * 2**20  # two buffers of 1 MiB, whatever was announced


def test_a_request_cannot_be_drawn_out(tmp_path: Path) -> None:
    with withstanding(tmp_path, read_seconds=0.1) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port), 20.0) for _ in range(50)]
        for sock in slow:
            sock.sendall(b"\0" * 20)
        serves_honest(server, "amid the slow")
        assert all(closed_by_server(sock) for sock in slow)
        for sock in slow:
            sock.close()


def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    with running(tmp_path / "data", max_connections_per_address=5) as server:
        flood = [socket.create_connection(("127.0.0.1", server.port), 20.0) for _ in range(20)]
        assert all(closed_by_server(sock) for sock in flood[5:])
        with PeerFrom(server.port, private_key=private_key()) as client:
            assert client.run("file", SECRET).verified
        for sock in flood:
            sock.close()


@pytest.mark.parametrize("quota", ["max_files_per_client", "max_bytes_per_client"])
def test_a_client_cannot_take_all_space(tmp_path: Path, quota: str) -> None:
    settings: dict[str, Any] = {quota: 1 if quota == "max_files_per_client" else 300}
    with sessions(tmp_path / "data", **settings) as served:
        greedy = served.introduced(name="greedy")
        greedy.store("file", SECRET)
        with pytest.raises(peer.GeneralError):
            greedy.send_file("another", SECRET)
        served.introduced(name="modest").store("file", SECRET)


def test_the_disk_is_never_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DirectoryStorage, "free_bytes", lambda _self: 2**20)
    with sessions(tmp_path / "data", min_free_bytes=2**20 - 100) as served:
        client = served.introduced()
        with pytest.raises(peer.GeneralError):
            client.send_file("file", SECRET)
        client.store("small", b"small")


# Secrets at rest and in the log


def spellings(secret: bytes) -> set[str]:
    """How a secret might be written by mistake."""
    return {
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode(),
        repr(secret)[2:-1],
        repr(bytearray(secret))[12:-2],
        secret.decode("latin-1"),
    }


@every_generation
@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_no_key_and_no_content_is_ever_logged(
    tmp_path: Path,
    generation: str,
    log_format: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("server")
    before = (logger.handlers[:], logger.level, logger.propagate)
    set_up(log_format, "debug")
    caplog.set_level(logging.DEBUG)
    key = private_key()
    secrets = {SECRET, SECRET[:32], crypto.private_der(key), crypto.public_der(key)}
    try:
        with sessions(tmp_path / "data", generation_1025=shared(generation)) as served:
            client = served.introduced(generation)
            client.store("file", SECRET)
            for request in client.file_requests("..", SECRET):
                raw_answer(client, request)
            again = served.again(client)
            payload = again.name_request(again.generation.reconnect, again.name)
            wrapped = raw_answer(again, payload)[23:]
            raw_answer(again, badly_padded(client))
            raw_answer(again, b"\xff" * 23)
            secrets |= {client.aes_key or b"", wrapped, crypto.unwrap(key, wrapped)}
            (registered,) = served.repository.clients()
            secrets |= {
                registered.wrapped_aes_key or b"",
                (tmp_path / "data/server.key").read_bytes(),
            }
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
    log = capsys.readouterr().err
    log += "".join(str(vars(record)) for record in caplog.records)
    assert "outcome" in log
    for secret in secrets:
        assert not [text for text in spellings(secret) if text in log]


def test_a_name_cannot_forge_a_line_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("server")
    before = (logger.handlers[:], logger.level, logger.propagate)
    set_up("plain", "debug")
    try:
        with sessions(tmp_path / "data") as served:
            client = served.peer(name="x\n2026-01-01 INFO request outcome=ok")
            with pytest.raises(peer.RegistrationFailed):
                client.register()
            keyed = served.introduced(name="a b=c outcome=ok")
            with pytest.raises(peer.GeneralError):
                keyed.send_file("y\n2026-01-01 INFO forged", SECRET)
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
    lines = capsys.readouterr().err.splitlines()
    assert sum(" request address=127.0.0.1 " in line for line in lines) == 4
    assert sum(" audit action=" in line for line in lines) == 3
    assert len(lines) == 4 + 3


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


MODES: dict[str, tuple[Callable[[Path], list[Path]], int]] = {
    "data": (lambda data: [data], 0o700),
    "key file": (lambda data: [data / "server.key"], 0o600),
    "database": (lambda data: [data / "eft.sqlite3"], 0o600),
    "staging": (lambda data: [data / "staging"], 0o700),
    "client's directory": (lambda data: [p.parent for p in data.glob("?" * 32 + "/*")], 0o700),
    "file": (lambda data: list(data.glob("?" * 32 + "/*")), 0o600),
}


@pytest.mark.parametrize(("find", "expected"), MODES.values(), ids=MODES)
def test_nobody_else_on_the_machine_may_look(
    tmp_path: Path, find: Callable[[Path], list[Path]], expected: int
) -> None:
    with sessions(tmp_path / "data") as served:
        served.introduced().store("file", SECRET)
        (path,) = find(tmp_path / "data")
        assert mode(path) == expected


@every_generation
def test_a_stolen_database_holds_no_usable_key(tmp_path: Path, generation: str) -> None:
    with sessions(tmp_path / "data", generation_1025=shared(generation)) as served:
        client = served.introduced(generation)
        (registered,) = served.repository.clients()
        assert registered.wrapped_aes_key is not None
        assert client.aes_key is not None
        assert client.aes_key not in (tmp_path / "data" / "eft.sqlite3").read_bytes()
        key_file = (tmp_path / "data" / "server.key").read_bytes()
        assert aes_key_unwrap(key_file, registered.wrapped_aes_key) == client.aes_key

"""What operators change, on both databases, and as commands beside a server that runs."""

import base64
import errno
import hashlib
import io
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from protocol.channel import format_fingerprint
from server import serving
from server.__main__ import main
from server.administration import (
    create_token,
    list_tokens,
    remove_client,
    revoke_token,
    shorten_trail,
)
from server.certificate import Certificate
from server.errors import ConfigurationError
from server.repository import Action, Client, Event, Repository, Token, open_repository
from tests.peer import client as peer
from tests.peer.client import PeerClient
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.wire import RefusedError
from tests.server import commands
from tests.server.hostile_doubles import FailingRepository
from tests.server.running import Running, running, settings_for_tests

NOW = 1_700_000_000
ALICE = Client(b"\xaa" * 16, "Alice", NOW, NOW)


@pytest.fixture
def repository(database_url: str) -> Iterator[Repository]:
    with closing(open_repository(database_url)) as repository:
        yield repository


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[Running]:
    """A server that runs, where registration takes a token."""
    with running(tmp_path / "data", database=database_url) as server:
        yield server


Ask = Callable[..., commands.Finished]


@pytest.fixture
def ask(tmp_path: Path, database_url: str) -> Ask:
    """Runs a command on the data of `server`, as another process."""
    settings = ("--data", str(tmp_path / "data"), "--database", database_url)
    return lambda *arguments: commands.run(tmp_path, *settings, *arguments)


def _said(finished: commands.Finished) -> str:
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def _error(finished: commands.Finished) -> str:
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def _registered(server: Running, ask: Ask, name: str = "Alice") -> bytes:
    """A client that registered with a token and sent the file `a/b`."""
    token = _said(ask("token", "create")).strip()
    with Peer4(server.port, name) as client:
        client_id = client.register(token)
        client.connect().put("a/b", b"content")
    return client_id


def _known(server: Running, client_id: bytes) -> Peer4:
    return Peer4(server.port, "Alice", client_id=client_id)


def _is_let_in(server: Running, client_id: bytes) -> bool:
    with _known(server, client_id) as client:
        try:
            proof = client.proof(client.challenge())
        except ValueError:  # the challenge is for nobody: what is left is to guess
            proof = bytes(32)
        reason = _answer(lambda: client.prove(proof))
    assert reason in (0, wire.ACCESS_DENIED)
    return reason == 0


def _answer(request: Callable[[], object]) -> int:
    """0, or the reason why the request was refused."""
    try:
        request()
    except RefusedError as refusal:
        return int(refusal.reason)
    return 0


# The certificate


def test_the_fingerprint_is_of_the_certificate_that_a_running_server_presents(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "data") as server, Peer4(server.port) as client:
        printed = _said(commands.run(tmp_path, "--data", "data", "fingerprint"))
        assert printed == format_fingerprint(client.fingerprint) + "\n"


def test_the_fingerprint_may_be_asked_for_before_the_first_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    printed = _said(commands.run(tmp_path, "--data", "data", "fingerprint"))
    assert (tmp_path / "data" / "certificate.key").stat().st_mode & 0o777 == 0o600
    with running(tmp_path / "data") as server, Peer4(server.port) as client:
        assert printed == format_fingerprint(client.fingerprint) + "\n"


def test_no_certificate_is_made_where_there_is_no_data_directory(tmp_path: Path) -> None:
    error = _error(commands.run(tmp_path, "--data", "missing", "fingerprint"))
    assert error == "there is no data directory missing: start the server or give its --data"
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_of_the_operators_certificate_is_printed(tmp_path: Path) -> None:
    mine = Certificate.own(tmp_path)
    files = ("--certificate", "certificate.pem", "--certificate-key", "certificate.key")
    assert _said(commands.run(tmp_path, *files, "fingerprint")) == f"{mine}\n"
    (tmp_path / "certificate.pem").write_text("nothing")
    assert "holds no certificate" in _error(commands.run(tmp_path, *files, "fingerprint"))


# Tokens


def _created(repository: Repository, name: str | None = None, seconds: int = 60) -> str:
    printed: list[str] = []
    create_token(
        repository, printed.append, name=name, seconds=seconds, max_name_bytes=255, now=lambda: NOW
    )
    (token,) = printed
    return token


def _listed(repository: Repository, now: int = NOW, *, as_json: bool = False) -> list[str]:
    lines: list[str] = []
    list_tokens(repository, lines.append, as_json=as_json, now=lambda: now)
    return lines


def test_a_token_is_32_random_bytes_of_which_only_the_digest_is_kept(
    repository: Repository,
) -> None:
    token = _created(repository, "Bob", 3600)
    assert len(token) == 43
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    digest = hashlib.sha256(token.encode()).digest()
    assert repository.tokens() == [Token(digest, "Bob", NOW + 3600, NOW)]


def test_no_token_is_made_twice(repository: Repository) -> None:
    assert len({_created(repository) for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", " Bob", "Bob\n", "B\u202eob", "n" * 256, "\udcff"])
def test_no_token_is_made_for_a_name_that_no_client_can_have(
    repository: Repository, name: str
) -> None:
    with pytest.raises(ConfigurationError, match="no client can register"):
        _created(repository, name)
    assert repository.tokens() == []


def test_no_token_is_made_for_a_name_longer_than_the_setting_allows(
    repository: Repository,
) -> None:
    with pytest.raises(ConfigurationError, match="longer than 4 bytes"):
        create_token(repository, print, name="Alice", seconds=60, max_name_bytes=4)


def test_no_token_is_made_for_a_name_that_is_taken(repository: Repository) -> None:
    repository.add_client(ALICE)
    with pytest.raises(ConfigurationError, match="'Alice' is registered already"):
        _created(repository, "Alice")


def test_a_token_that_can_be_neither_printed_nor_removed_is_told_of_so_that_it_can_be_revoked(
    repository: Repository,
) -> None:
    failing = FailingRepository(repository)

    def gone(_token: str) -> None:
        failing.failures = 1
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device; the token") as caught:
        create_token(failing, gone, name=None, seconds=60, max_name_bytes=255)
    (token,) = repository.tokens()
    shown = token.digest.hex()[:16]
    assert f"the token {shown} could not be removed: revoke it (" in str(caught.value)
    revoke_token(repository, lambda _line: None, shown)


def test_a_token_that_was_used_while_it_was_printed_is_not_recorded_as_revoked(
    repository: Repository,
) -> None:
    def used(token: str) -> None:
        repository.add_client(ALICE, hashlib.sha256(token.encode()).digest())
        raise OSError(errno.EPIPE, "Broken pipe")

    with pytest.raises(OSError, match=r"Broken pipe; the token [0-9a-f]{16} was used or revoked"):
        create_token(repository, used, name=None, seconds=60, max_name_bytes=255)
    assert [event.action for event in repository.events()] == [Action.TOKEN_CREATED]


def test_tokens_are_listed_without_what_would_let_anybody_in(repository: Repository) -> None:
    token = _created(repository, "Bob", 60)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert _listed(repository) == [f"{digest[:16]}  expires 2023-11-14 22:14:20Z  for Bob"]
    (line,) = _listed(repository, as_json=True)
    assert json.loads(line) == {
        "digest": digest,
        "name": "Bob",
        "created_at": NOW,
        "expires_at": NOW + 60,
        "expired": False,
    }


def test_an_expired_token_is_listed_as_such(repository: Repository) -> None:
    _created(repository, None, 60)
    (line,) = _listed(repository, NOW + 60)
    assert re.fullmatch(r"[0-9a-f]{16}  expired 2023-11-14 22:14:20Z  for any name", line)
    (line,) = _listed(repository, NOW + 60, as_json=True)
    assert json.loads(line)["expired"]


def test_a_token_is_revoked_by_the_beginning_of_its_digest(repository: Repository) -> None:
    digests = [bytes([1, 2, last]) + bytes(29) for last in (0x30, 0x31)]
    for digest in digests:
        repository.add_token(Token(digest, None, NOW, NOW))
    printed: list[str] = []
    revoke_token(repository, printed.append, "010231")
    assert [token.digest for token in repository.tokens()] == digests[:1]
    assert printed == [f"revoked {digests[1].hex()[:16]}"]
    revoke_token(repository, printed.append, digests[0].hex().upper())
    assert repository.tokens() == []


@pytest.mark.parametrize(
    ("prefix", "cause"),
    [
        ("0102", "2 digests begin with 0102: give more digits"),
        ("03", "no digest begins with 03"),
        ("", "'' is no beginning of a digest"),
        ("0x01", "'0x01' is no beginning of a digest"),
        ("01" * 33, "is no beginning of a digest"),
    ],
)
def test_a_revocation_that_does_not_mean_one_token_revokes_none(
    repository: Repository, prefix: str, cause: str
) -> None:
    tokens = [Token(bytes([1, 2, last]) + bytes(29), None, NOW, NOW) for last in (3, 4)]
    for token in tokens:
        repository.add_token(token)
    with pytest.raises(ConfigurationError, match=re.escape(cause)):
        revoke_token(repository, print, prefix)
    assert repository.tokens() == tokens


def _denied(server: Running, name: str, token: str) -> bool:
    with Peer4(server.port, name) as client:
        reason = _answer(lambda: client.register(token))
    assert reason in (0, wire.ACCESS_DENIED)
    return reason != 0


def test_a_token_lets_one_client_register_with_a_server_that_runs(
    server: Running, ask: Ask
) -> None:
    token = _said(ask("token", "create")).removesuffix("\n")
    assert _denied(server, "Alice", token[:-1] + "!")
    assert not _denied(server, "Alice", token)
    assert _denied(server, "Bob", token)
    assert _said(ask("token", "list")) == ""


def test_a_token_for_a_name_lets_no_other_client_register(server: Running, ask: Ask) -> None:
    token = _said(ask("token", "create", "--name", "Alice", "--expires", "7d")).strip()
    assert _denied(server, "Bob", token)
    assert not _denied(server, "Alice", token)


def test_a_revoked_token_lets_nobody_register(server: Running, ask: Ask) -> None:
    token = _said(ask("token", "create")).strip()
    (listed,) = _said(ask("token", "list")).splitlines()
    _said(ask("token", "revoke", listed.split()[0]))
    assert _denied(server, "Alice", token)


def test_a_token_ends_with_its_time(server: Running, ask: Ask) -> None:
    token = _said(ask("token", "create", "--expires", "1s")).strip()
    time.sleep(2.0)
    assert _denied(server, "Alice", token)


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ((), 86400),
        (("--expires", "90s"), 90),
        (("--expires=30m",), 1800),
        (("--expires", "12 h"), 43200),
        (("--expires=7D",), 604800),
    ],
)
def test_a_token_is_good_for_a_day_unless_the_operator_says_otherwise(
    tmp_path: Path, arguments: tuple[str, ...], seconds: int
) -> None:
    with closing(open_repository(f"sqlite:///{tmp_path / 'db'}")) as repository:
        _said(commands.run(tmp_path, "--database", "sqlite:///db", "token", "create", *arguments))
        (token,) = repository.tokens()
        assert token.expires_at - token.created_at == seconds


# Clients that are shut out


def test_a_disabled_client_is_refused_at_its_next_proof_until_it_is_enabled(
    server: Running, ask: Ask
) -> None:
    client_id = _registered(server, ask)
    with _known(server, client_id) as connected:
        connected.connect()
        assert _said(ask("clients", "disable", "Alice")) == "disabled Alice\n"
        connected.put("still", b"connected")
    assert not _is_let_in(server, client_id)
    assert " DISABLED  Alice" in _said(ask("clients", "list"))
    assert _said(ask("clients", "enable", client_id.hex())) == "enabled Alice\n"
    assert _is_let_in(server, client_id)
    assert set(server.stored()) == {("Alice", "a/b"), ("Alice", "still")}


def test_a_disabled_client_of_protocol_3_cannot_reconnect(server: Running, ask: Ask) -> None:
    with PeerClient(server.port, name="Bob") as client:
        client.register()
        client.send_public_key()
    known: Any = {"client_id": client.known_id, "private_key": client.private_key}
    _said(ask("clients", "disable", "Bob"))
    with (
        PeerClient(server.port, name="Bob", **known) as again,
        pytest.raises(peer.ReconnectRefused),
    ):
        again.reconnect()
    _said(ask("clients", "enable", "Bob"))
    with PeerClient(server.port, name="Bob", **known) as again:
        again.reconnect()


def test_disabling_twice_is_harmless(server: Running, ask: Ask) -> None:
    client_id = _registered(server, ask)
    for _ in range(2):
        _said(ask("clients", "disable", "Alice"))
    assert not _is_let_in(server, client_id)


# Clients that are removed


def test_a_removed_client_is_not_let_in_and_its_name_is_free(server: Running, ask: Ask) -> None:
    client_id = _registered(server, ask)
    assert _said(ask("clients", "remove", "Alice", "--yes")) == "removed Alice and 1 files\n"
    assert not _is_let_in(server, client_id)
    assert server.stored() == {}
    assert _registered(server, ask) != client_id


def test_a_client_that_is_connected_while_it_is_removed_stores_nothing_more(
    server: Running, ask: Ask
) -> None:
    client_id = _registered(server, ask)
    with _known(server, client_id) as client:
        client.connect()
        _said(ask("clients", "remove", "Alice", "--yes"))
        with pytest.raises(RefusedError):
            client.put("later", b"content")
        with pytest.raises(RefusedError):
            client.begin(bytes(16), bytes(32), "later", 5)
        assert client.names() == []
    assert list(server.repository.clients()) == []


def test_the_bytes_of_a_removed_client_are_left_to_the_server(server: Running, ask: Ask) -> None:
    client_id = _registered(server, ask)
    (path,) = (server.data / client_id.hex()).iterdir()
    with _known(server, client_id) as client:
        client.connect().begin(bytes(16), bytes(32), "unfinished", 5)
    _said(ask("clients", "remove", "Alice", "--yes"))
    assert path.exists()
    assert server.staged()
    assert server.listener.doors.services4.receiver.sweep() == 2
    assert not path.exists()
    assert not server.staged()
    assert server.repository.superseded() == []


def test_the_bytes_of_a_removed_client_are_gone_after_the_next_start(
    tmp_path: Path, database_url: str, ask: Ask
) -> None:
    with running(tmp_path / "data", database=database_url) as server:
        client_id = _registered(server, ask)
        _said(ask("clients", "remove", "Alice", "--yes"))
    with running(tmp_path / "data", database=database_url):
        assert list((tmp_path / "data" / client_id.hex()).iterdir()) == []
        assert not (tmp_path / "data" / "orphans").exists()


def test_a_server_that_runs_removes_the_bytes_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    with running(data) as server:
        client_id = _registered(server, lambda *given: commands.run(data, "--data", ".", *given))
    monkeypatch.setattr(serving, "_SWEEP_SECONDS", 0.0)
    gone: list[bool] = []

    def watch() -> None:
        commands.run(data, "--data", ".", "clients", "remove", "Alice", "--yes")
        deadline = time.monotonic() + commands.SECONDS
        while list((data / client_id.hex()).iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        gone.append(not list((data / client_id.hex()).iterdir()))
        os.kill(os.getpid(), signal.SIGTERM)

    watching = threading.Thread(target=watch)

    def announce(text: str) -> None:
        if text.startswith("listening"):
            watching.start()

    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert serving.serve(settings_for_tests(data), announce) == 0
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)
    watching.join(commands.SECONDS)
    assert gone == [True]


def test_a_sweep_ends_when_the_server_is_told_to_stop(server: Running, ask: Ask) -> None:
    _registered(server, ask)
    _said(ask("clients", "remove", "Alice", "--yes"))
    assert server.listener.doors.services4.receiver.sweep(lambda: True) == 0
    assert len(server.repository.superseded()) == 1


@pytest.mark.parametrize("agreed", [False, True])
def test_a_client_is_removed_only_if_the_operator_agrees(
    repository: Repository, *, agreed: bool
) -> None:
    repository.add_client(ALICE)
    questions: list[str] = []

    def confirm(question: str) -> bool:
        questions.append(question)
        return agreed

    printed: list[str] = []
    assert remove_client(repository, printed.append, "Alice", confirm) == (0 if agreed else 1)
    assert questions == ["remove client 'Alice' and its 0 files (0 bytes)?"]
    assert printed == ["removed Alice and 0 files" if agreed else "nothing was removed"]
    assert (repository.find_client(ALICE.id) is None) == agreed


def test_without_a_terminal_nobody_is_asked_and_nothing_removed(server: Running, ask: Ask) -> None:
    _registered(server, ask)
    assert _error(ask("clients", "remove", "Alice")) == "nobody is there to be asked: give --yes"
    assert len(server.stored()) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "removed"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), ("yeah\n", False)],
)
def test_at_a_terminal_only_yes_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, *, removed: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'db'}"
    with closing(open_repository(url)) as repository:
        repository.add_client(ALICE)
        monkeypatch.setattr(sys, "stdin", _Terminal(typed))
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        status = main(["--database", url, "clients", "remove", "Alice"])
        assert status == (0 if removed else 1)
        assert (repository.find_client(ALICE.id) is None) == removed


def test_what_removing_and_disabling_mean_is_in_their_help(tmp_path: Path) -> None:
    removing = " ".join(_said(commands.run(tmp_path, "clients", "remove", "--help")).split())
    assert "removes them at its next start" in removing
    disabling = " ".join(_said(commands.run(tmp_path, "clients", "disable", "--help")).split())
    assert "refused the next time it has to prove who it is" in disabling


# Which client


CHANGES: Mapping[str, Any] = {
    "show": ("clients", "show"),
    "disable": ("clients", "disable"),
    "enable": ("clients", "enable"),
    "remove": ("clients", "remove", "--yes"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["nobody", "ab" * 16, ""])
def test_an_unknown_client_is_an_error_in_one_line(
    tmp_path: Path, change: tuple[str, ...], name: str
) -> None:
    with closing(open_repository(f"sqlite:///{tmp_path / 'db'}")) as repository:
        repository.add_client(ALICE)
        finished = commands.run(tmp_path, "--database", "sqlite:///db", *change, name)
        assert _error(finished) == f"no client {name!r}: see `clients list`"
        assert list(repository.clients()) == [ALICE]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_client_named_like_anothers_id_is_never_taken_for_it(
    tmp_path: Path, change: tuple[str, ...]
) -> None:
    imitator = Client(b"\xbb" * 16, ALICE.id.hex(), NOW, NOW)
    with closing(open_repository(f"sqlite:///{tmp_path / 'db'}")) as repository:
        for client in (ALICE, imitator):
            repository.add_client(client)
        before = list(repository.clients())
        finished = commands.run(tmp_path, "--database", "sqlite:///db", *change, ALICE.id.hex())
        assert "give the one's name or the other's id" in _error(finished)
        assert list(repository.clients()) == before
        _said(commands.run(tmp_path, "--database", "sqlite:///db", *change, imitator.id.hex()))
        assert repository.find_client(ALICE.id) == ALICE


@pytest.mark.parametrize("arguments", [["token", "create"], ["clients", "remove", "a", "--yes"]])
def test_a_command_makes_no_database(tmp_path: Path, arguments: list[str]) -> None:
    assert "there is no database" in _error(commands.run(tmp_path, *arguments))
    assert not list(tmp_path.iterdir())


def test_what_is_old_leaves_the_trail_and_what_is_yet_to_come_is_a_mistake(
    repository: Repository,
) -> None:
    repository.record([Event(Action.CONNECT, at=NOW * 1_000_000)])
    said: list[str] = []
    with pytest.raises(ConfigurationError, match="is yet to come"):
        shorten_trail(repository, said.append, int(time.time()) + 3600)
    assert [event.action for event in repository.events()] == [Action.CONNECT]

    shorten_trail(repository, said.append, NOW + 1)
    assert [event.action for event in repository.events()] == [Action.TRAIL_SHORTENED]
    assert said == ["removed 1 events from before 2023-11-14 22:13:21Z"]

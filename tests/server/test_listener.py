"""Where the server listens, whom it refuses, and what it survives while accepting."""

import logging
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import ConfigurationError
from server.serving import listening
from server.session3 import Session3
from tests.peer import wire
from tests.peer.client import PeerClient
from tests.peer4.client import Peer4
from tests.server.hostile_process import ServerProcess
from tests.server.hostile_sessions import private_key
from tests.server.hostile_surroundings import closed_by_server, serves_honest
from tests.server.running import running, settings_for_tests


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_loopback_address_is_served(tmp_path: Path, host: str) -> None:
    with (
        running(tmp_path / "data", host=host) as server,
        PeerClient(server.port, host=host, private_key=private_key()) as client,
    ):
        assert client.run("file", b"content").verified


ANYWHERE = ["0.0.0.0", "::"]  # noqa: S104 - that is the point


@pytest.mark.parametrize("host", ANYWHERE)
def test_an_address_that_others_reach_is_served_over_protocol_4(tmp_path: Path, host: str) -> None:
    with running(tmp_path / "data", host=host, registration="open") as server:
        with Peer4(server.port, host="::1" if ":" in host else "127.0.0.1") as client:
            client.introduce().put("file", b"content")
        assert server.stored() == {("alice", "file"): b"content"}


@pytest.mark.parametrize("host", ANYWHERE)
def test_protocol_3_is_closed_unanswered_on_an_address_that_others_reach(
    tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    loopback = "::1" if ":" in host else "127.0.0.1"
    with running(tmp_path / "data", host=host) as server:
        with (
            PeerClient(server.port, host=loopback, private_key=private_key()) as client,
            pytest.raises((wire.ConnectionEnded, OSError)),
        ):
            client.register()
        assert list(server.repository.clients()) == []
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().endswith("refused: protocol 3 is not allowed here")


@pytest.mark.parametrize("host", ANYWHERE)
def test_an_address_that_others_reach_is_served_when_protocol_3_is_allowed(
    tmp_path: Path, host: str
) -> None:
    with running(tmp_path / "data", host=host, allow_protocol_3=True) as server:
        loopback = "::1" if ":" in host else "127.0.0.1"
        with PeerClient(server.port, host=loopback, private_key=private_key()) as client:
            assert client.run("file", b"content").verified


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("host", ["192.0.2.1", "server.invalid"])
def test_an_address_of_another_machine_cannot_be_listened_on(
    tmp_path: Path, host: str, *, allowed: bool
) -> None:
    config = settings_for_tests(tmp_path / "data", host=host, allow_protocol_3=allowed)
    with pytest.raises(ConfigurationError, match="cannot listen"), listening(config):
        pass


def test_a_port_in_use_cannot_be_listened_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = settings_for_tests(tmp_path / "data", port=other.getsockname()[1])
        with pytest.raises(ConfigurationError, match="cannot listen"), listening(config):
            pass


def test_a_port_is_free_again_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        serves_honest(server)
        port = server.port
    with running(tmp_path / "data", port=port) as server:
        serves_honest(server, "another")


def test_a_server_that_cannot_listen_lets_go_of_its_data(tmp_path: Path) -> None:
    test_a_port_in_use_cannot_be_listened_on(tmp_path)
    with running(tmp_path / "data") as server:
        serves_honest(server)


def test_a_data_directory_is_one_servers(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        config = settings_for_tests(tmp_path / "data")
        with pytest.raises(ConfigurationError, match="in use by another server"), listening(config):
            pass
        serves_honest(server)
    with running(tmp_path / "data") as server:
        serves_honest(server, "another")


def test_a_data_directory_is_one_processs(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data"),
        pytest.raises(RuntimeError, match="in use by another server"),
    ):
        ServerProcess(tmp_path / "data")


def test_connections_stay_below_the_limit_of_open_files(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    limited = [shell, "-c", 'ulimit -n 140 && exec "$@"', "sh"]  # room for (140 - 128) / 3
    with ServerProcess(tmp_path / "data", through=limited) as server:
        assert "only 4 connections at once" in server.log
        sockets = [
            socket.create_connection(("127.0.0.1", server.port), timeout=5.0) for _ in range(6)
        ]
        assert closed_by_server(sockets[0])
        assert closed_by_server(sockets[1])
        client = PeerClient(server.port, private_key=private_key())
        client._socket = sockets[2]
        assert client.run("file", b"content").verified
        for sock in sockets:
            sock.close()


def test_a_thread_that_does_not_start_costs_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start
    failing: Iterator[bool] = iter([True])

    def start_next(thread: threading.Thread) -> None:
        if next(failing, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    with running(tmp_path / "data", max_connections=1) as server:
        monkeypatch.setattr(threading.Thread, "start", start_next)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10.0) as sock:
            assert closed_by_server(sock)
        serves_honest(server)
    assert "can't start new thread" in caplog.text


def test_an_error_that_nobody_expected_costs_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receive = Session3.receive
    failing: Iterator[bool] = iter([True])

    def receive_next(session: Session3, data: memoryview) -> Iterator[bytes]:
        if next(failing, False):
            raise ZeroDivisionError
        return receive(session, data)

    monkeypatch.setattr(Session3, "receive", receive_next)
    with running(tmp_path / "data") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10.0) as sock:
            sock.sendall(bytes(16))  # as many as it takes to tell what a connection is
            assert closed_by_server(sock)
        serves_honest(server)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "ZeroDivisionError" in caplog.text
    assert record.getMessage() == "connection from 127.0.0.1 failed"

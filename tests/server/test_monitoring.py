"""Health, readiness and metrics, of real servers and of parts that are gone."""

import logging
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.errors import ConfigurationError
from server.listener import Listener
from server.monitoring import Counting, Readiness, monitored
from server.repository import RepositoryUnavailable
from tests.mariadb import MariaDB
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.wire import RefusedError
from tests.server import commands
from tests.server.running import Running, running, settings_for_tests


@contextmanager
def watched(data: Path, **settings: Any) -> Iterator[tuple[Running, int]]:  # noqa: ANN401 - any setting
    """A server and the port of its metrics."""
    with running(data, registration="open", metrics_port=0, **settings) as server:
        until(lambda: server.listener.accepting)
        with monitored(server.listener.config, server.listener) as port:
            assert port is not None
            yield server, port


def until(holds: Any) -> None:  # noqa: ANN401 - any condition
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it does not come about")


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(port: int, name: str, **labels: str) -> float:
    """The value of one sample."""
    _, text = ask(port, "/metrics")
    shown = ",".join(f'{key}="{labels[key]}"' for key in labels)
    found = re.search(
        rf"^{name}{re.escape('{' + shown + '}') if shown else ''} (\S+)$", text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def test_a_server_that_serves_is_alive_and_ready(tmp_path: Path) -> None:
    with watched(tmp_path) as (_, port):
        assert ask(port, "/healthz") == (200, "ok\n")
        assert ask(port, "/readyz") == (200, "ok\n")
        assert ask(port, "/") == (404, "/metrics, /healthz or /readyz\n")


def test_transfers_and_bytes_are_counted(tmp_path: Path) -> None:
    with watched(tmp_path) as (server, port), Peer4(server.port).open().introduce() as alice:
        alice.put("small", b"12345")
        alice.upload("large", bytes(100_000))
        alice.get("large")
        alice.stat("small")
        assert metric(port, "eft_transfers_total", direction="in") == 2
        assert metric(port, "eft_transfers_total", direction="out") == 1
        assert metric(port, "eft_transferred_bytes_total", direction="in") == 100_005
        assert metric(port, "eft_transferred_bytes_total", direction="out") == 100_000
        assert metric(port, "eft_requests_total", protocol="4", request="Stat") == 1
        assert metric(port, "eft_connections") == 1


def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    with watched(tmp_path) as (server, port), Peer4(server.port).open().introduce() as alice:
        for _ in range(2):
            with pytest.raises(RefusedError):
                alice.stat("nothing")
        assert metric(port, "eft_refusals_total", reason="FileNotThere") == 2
        assert metric(port, "eft_failures_total", kind="FileNotThere") == 0


def test_failures_of_the_server_are_counted_apart(tmp_path: Path) -> None:
    with watched(tmp_path) as (server, port), Peer4(server.port).open().introduce() as alice:
        alice.put("file", b"12345")
        for path in (server.data / alice.client_id.hex()).iterdir():  # type: ignore[union-attr]
            path.unlink()
        with pytest.raises(RefusedError):
            alice.get("file")
        assert metric(port, "eft_failures_total", kind="StorageError") == 1


def test_what_is_staged_is_measured(tmp_path: Path) -> None:
    with watched(tmp_path) as (server, port), Peer4(server.port).open().introduce() as alice:
        upload_id, salt = bytes(16), bytes(32)
        alice.begin(upload_id, salt, "unfinished", 2 * wire.SEGMENT)
        sealed = wire.seal(
            alice.key_of(upload_id, salt), upload_id, 0, bytes(wire.SEGMENT), final=False
        )
        alice.segment(upload_id, 0, sealed, final=False)
        until(lambda: metric(port, "eft_staging_bytes") == wire.SEGMENT)


def test_connections_beyond_the_limits_are_counted(tmp_path: Path) -> None:
    with (
        watched(tmp_path, max_connections_per_address=1) as (server, port),
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        until(lambda: metric(port, "eft_connections") == 1)
        with socket.create_connection(("127.0.0.1", server.port)) as second:
            assert second.recv(1) == b""
        assert metric(port, "eft_connections_refused_total", limit="address") == 1


def test_every_metric_that_is_documented_is_there(tmp_path: Path) -> None:
    document = Path(__file__).parents[2] / "docs" / "operations.md"
    documented = set(re.findall(r"`(eft_\w+)`", document.read_text()))
    with watched(tmp_path) as (_, port):
        told = set(re.findall(r"^# TYPE (eft_\w+)", ask(port, "/metrics")[1], re.MULTILINE))
    assert documented == {name for name in told if not name.endswith("_created")}


def test_metrics_are_told_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    with watched(tmp_path) as (_, port):
        assert "# EOF" not in ask(port, "/metrics")[1]
        accept = "application/openmetrics-text; version=1.0.0"
        assert ask(port, "/metrics", Accept=accept)[1].endswith("# EOF\n")


def test_a_draining_server_is_alive_and_not_ready(tmp_path: Path) -> None:
    with watched(tmp_path) as (server, port):
        server.listener.draining = True
        assert ask(port, "/readyz") == (503, "draining\n")
        assert ask(port, "/healthz")[0] == 200
        assert metric(port, "eft_draining") == 1


def test_a_server_that_does_not_accept_is_not_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(tmp_path) as (_, port):
        monkeypatch.setattr(Listener, "accepting", property(lambda _: False))
        assert ask(port, "/healthz") == (503, "not serving\n")
        assert ask(port, "/readyz") == (503, "no connection is accepted\n")


def test_without_the_database_a_server_is_alive_and_not_ready(
    tmp_path: Path, mariadb: MariaDB
) -> None:
    with watched(tmp_path, database=mariadb.url(mariadb.new_database())) as (_, port):
        assert ask(port, "/readyz")[0] == 200
        mariadb.stop()
        try:
            status, text = ask(port, "/readyz")
            assert status == 503
            assert "database" in text
            assert ask(port, "/healthz")[0] == 200
        finally:
            mariadb.start()
        until(lambda: ask(port, "/readyz")[0] == 200)


def test_questions_to_a_database_that_is_silent_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    asked: list[bytes] = []

    def find_client(client_id: bytes) -> None:
        asked.append(client_id)
        assert release.wait(30)

    monkeypatch.setattr("server.monitoring._PROBE_SECONDS", 0.01)
    with running(tmp_path) as server:
        until(lambda: server.listener.accepting)
        monkeypatch.setattr(server.repository, "find_client", find_client)
        readiness = Readiness(server.listener)
        for _ in range(5):
            assert readiness.obstacle() == "the database does not answer"
        assert len(asked) == 1
        release.set()
        until(lambda: readiness.obstacle() is None)


def test_a_database_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_client(_client_id: bytes) -> None:
        raise RepositoryUnavailable("database eft: gone")

    with running(tmp_path) as server:
        until(lambda: server.listener.accepting)
        monkeypatch.setattr(server.repository, "find_client", find_client)
        assert Readiness(server.listener).obstacle() == "database eft: gone"


def test_the_endpoint_is_off_unless_asked_for(tmp_path: Path) -> None:
    with running(tmp_path) as server, monitored(server.listener.config, server.listener) as port:
        assert port is None
        assert not any(
            isinstance(each, Counting) for each in logging.getLogger("server.requests").handlers
        )


def test_a_port_that_is_taken_is_told_of(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        config = settings_for_tests(tmp_path, metrics_port=server.port)
        with (
            pytest.raises(ConfigurationError, match="cannot serve metrics on"),
            monitored(config, server.listener),
        ):
            pass


def test_without_the_package_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with running(tmp_path) as server:
        config = settings_for_tests(tmp_path, metrics_port=0)
        with (
            pytest.raises(ConfigurationError, match=re.escape("[metrics]")),
            monitored(config, server.listener),
        ):
            pass


def test_a_real_server_announces_its_metrics_and_counts_what_its_log_leaves_out(
    tmp_path: Path,
) -> None:
    arguments = ("--port", "0", "--metrics-port", "0", "--log-level", "warning")
    with commands.serving(tmp_path, *arguments, "--registration", "open") as server:
        until(lambda: len(server.said) == 3)
        found = re.fullmatch(r"metrics on http://127\.0\.0\.1:(\d+)/metrics\n", server.said[2])
        assert found is not None
        port = int(found[1])
        with Peer4(server.port).open().introduce() as alice:
            alice.put("small", b"12345")
        assert metric(port, "eft_transfers_total", direction="in") == 1
        assert metric(port, "process_open_fds") > 0
        assert server.end(signal.SIGTERM) == 0
    assert not [line for line in server.logged if " INFO " in line]

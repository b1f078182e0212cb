"""Stopping: what runs may finish, what is idle ends at once, and nothing waits for ever."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peer.client import PeerClient
from tests.peer.style import Packets, Style
from tests.server.hostile_process import ServerProcess
from tests.server.hostile_sessions import private_key
from tests.server.hostile_surroundings import closed_by_server, until
from tests.server.running import Running, running

CONTENT = b"content that takes several packets " * 100
LONG = 60.0
SHORT = 0.1

GENERATIONS = pytest.mark.parametrize(
    ("generation", "packets"),
    [
        ("2023a", Packets.ONE_CIPHERTEXT),
        ("2024c", Packets.ONE_CIPHERTEXT),
        ("2024c", Packets.OWN_CIPHERTEXTS),
    ],
)


def introduced(
    port: int, generation: str = "2023a", packets: Packets = Packets.ONE_CIPHERTEXT
) -> PeerClient:
    """A connected client that has its key."""
    client = PeerClient(port, generation, style=Style(packets), private_key=private_key())
    client.connect()
    client.register()
    client.send_public_key()
    return client


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port), 5.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def draining(server: Running, hurry: threading.Event | None = None) -> Iterator[Future[bool]]:
    """Drains in another thread, from the moment when nobody new is accepted."""
    port, hurry = server.port, hurry or threading.Event()
    with ThreadPoolExecutor(1) as executor:
        outcome = executor.submit(server.listener.drain, hurry.is_set)
        try:
            until(lambda: refuses(port), "the server stops accepting")
            yield outcome
        finally:
            if not outcome.done():  # the test has failed: let it end
                hurry.set()


@GENERATIONS
def test_a_file_that_is_under_way_may_be_sent_to_its_verdict(
    tmp_path: Path, generation: str, packets: Packets
) -> None:
    with running(tmp_path / "data", grace_seconds=LONG) as server:
        client = introduced(server.port, generation, packets)
        requests = client.file_requests("file", CONTENT)
        data = b"".join(requests)
        client.send_raw(data[:1500])
        until(lambda: bool(server.staged()), "the file begins to arrive")
        with draining(server) as outcome:
            client.send_raw(data[1500:])
            assert client.read_response()[1] == client.generation.file_received
            client.crc_valid("file")
            assert closed_by_server(client.sock)
            assert outcome.result(LONG)
        client.close()
        assert server.stored() == {("peer", "file"): CONTENT}


@pytest.mark.parametrize("packets", [Packets.ONE_CIPHERTEXT, Packets.OWN_CIPHERTEXTS])
def test_a_file_may_be_finished_when_the_drain_begins_between_two_packets(
    tmp_path: Path, packets: Packets
) -> None:
    with running(tmp_path / "data", grace_seconds=LONG) as server:
        client = introduced(server.port, "2024c", packets)
        first, *others = client.file_requests("file", CONTENT)
        client.send_raw(first)
        until(lambda: bool(server.staged()), "the file begins to arrive")
        with draining(server) as outcome:
            client.send_raw(b"".join(others))
            assert client.read_response()[1] == client.generation.file_received
            client.crc_valid("file")
            assert outcome.result(LONG)
        client.close()
        assert server.stored() == {("peer", "file"): CONTENT}


def test_a_file_that_awaits_its_verdict_may_get_it(tmp_path: Path) -> None:
    with running(tmp_path / "data", grace_seconds=LONG) as server:
        client = introduced(server.port)
        client.send_file("file", CONTENT)
        with draining(server) as outcome:
            client.crc_valid("file")
            assert outcome.result(LONG)
        client.close()
        assert server.stored() == {("peer", "file"): CONTENT}


@pytest.mark.parametrize("ready", [False, True], ids=["silent", "after its keys"])
def test_an_idle_connection_is_closed_at_once(tmp_path: Path, *, ready: bool) -> None:
    with running(tmp_path / "data", grace_seconds=LONG, idle_seconds=LONG) as server:
        client = introduced(server.port) if ready else PeerClient(server.port)
        if not ready:
            client.connect()
        with draining(server) as outcome:
            assert closed_by_server(client.sock)
            assert outcome.result(LONG)
        client.close()


def half_sent(client: PeerClient) -> None:
    client.send_raw(client.file_requests("file", CONTENT)[0][:1000])


def without_verdict(client: PeerClient) -> None:
    client.send_file("file", CONTENT)


UNFINISHED = pytest.mark.parametrize("unfinished", [half_sent, without_verdict])


@UNFINISHED
def test_a_transfer_that_outlasts_the_grace_time_is_broken_off(
    tmp_path: Path, unfinished: Callable[[PeerClient], None]
) -> None:
    with running(tmp_path / "data", grace_seconds=SHORT, idle_seconds=LONG) as server:
        client = introduced(server.port)
        unfinished(client)
        until(lambda: bool(server.staged()), "the file arrives")
        with draining(server) as outcome:
            assert closed_by_server(client.sock)
            assert not outcome.result(LONG)
        client.close()
        until(lambda: not server.staged(), "staging is empty")
        assert server.stored() == {}


@UNFINISHED
def test_a_second_signal_ends_the_grace_time(
    tmp_path: Path, unfinished: Callable[[PeerClient], None]
) -> None:
    hurry = threading.Event()
    with running(tmp_path / "data", grace_seconds=LONG, idle_seconds=LONG) as server:
        client = introduced(server.port)
        unfinished(client)
        until(lambda: bool(server.staged()), "the file arrives")
        with draining(server, hurry) as outcome:
            assert not outcome.done()
            hurry.set()
            assert not outcome.result(LONG)
        client.close()


def test_a_server_without_connections_stops_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "data", grace_seconds=LONG) as server, draining(server) as outcome:
        assert outcome.result(LONG)


# The same from outside: a real process and its signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_process_finish_a_transfer_and_exit_well(
    tmp_path: Path, number: signal.Signals
) -> None:
    with ServerProcess(tmp_path / "data", "--grace-seconds", "60") as server:
        client = introduced(server.port)
        data = b"".join(client.file_requests("file", CONTENT))
        client.send_raw(data[:1000])
        until(lambda: bool(list((tmp_path / "data" / "staging").iterdir())), "the file arrives")
        server.signal(number)
        until(lambda: refuses(server.port), "the server stops accepting")
        client.send_raw(data[1000:])
        assert client.read_response()[1] == client.generation.file_received
        client.crc_valid("file")
        client.close()
        assert server.status() == 0
        assert "stopped" in server.log
        assert "Traceback" not in server.log
    with running(tmp_path / "data") as again:
        assert again.stored() == {("peer", "file"): CONTENT}


def test_a_signal_ends_an_idle_process_well(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        client = introduced(server.port)
        server.signal(signal.SIGTERM)
        assert closed_by_server(client.sock)
        client.close()
        assert server.status() == 0


def test_a_second_signal_ends_a_process_that_waits_for_a_transfer(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--grace-seconds", "60") as server:
        client = introduced(server.port)
        client.send_file("file", CONTENT)
        server.signal(signal.SIGTERM)
        until(lambda: refuses(server.port), "the server stops accepting")
        server.signal(signal.SIGTERM)
        assert server.status() == 0
        client.close()
        assert "before every transfer had finished" in server.log


def test_two_signals_at_once_end_a_process_that_has_a_transfer(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--grace-seconds", "60") as server:
        client = introduced(server.port)
        client.send_file("file", CONTENT)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)
        assert server.status() == 0
        client.close()
        assert "before every transfer had finished" in server.log

"""Peers that stall, flood, break off or never listen: the server goes on serving everybody else."""

import contextlib
import itertools
import select
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peer import wire
from tests.peer.client import PeerClient
from tests.peer.style import Style
from tests.server.hostile_sessions import private_key
from tests.server.hostile_surroundings import (
    PATIENCE_SECONDS,
    closed_by_server,
    serves_honest,
    until,
    withstanding,
)
from tests.server.running import Running

LARGE = bytes(2**20)
FIELD = b"file".ljust(255, b"\0")


def introduced(
    server: Running, generation: str = "2023a", *, name: str = "hostile", style: Style | None = None
) -> PeerClient:
    """A connected client that has its key."""
    client = PeerClient(
        server.port, generation, name=name, style=style, private_key=private_key()
    )  # fmt: skip
    client.connect()
    client.register()
    client.send_public_key()
    return client


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as sock:
        yield sock


def giant(client: PeerClient) -> bytes:
    """The beginning of a file of 4 GiB."""
    size = 2**32 - 1 - wire.FILE_HEADER.size
    header = wire.REQUEST_HEADER.pack(
        client.known_id, 3, client.generation.send_file, 2**32 - 1
    )  # fmt: skip
    return header + wire.FILE_HEADER.pack(size, FIELD)


def dribble(sock: socket.socket, data: bytes) -> None:
    """Sends byte by byte, each long before it is due, until the server has had enough."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for number in range(len(data)):
        try:
            sock.sendall(data[number : number + 1])
        except OSError:
            return
        if select.select([sock], [], [], 0.01)[0]:
            assert closed_by_server(sock)
            return
        assert time.monotonic() < deadline
    pytest.fail("the server took it all")


# Slow


def test_a_silent_connection_is_closed(tmp_path: Path) -> None:
    with withstanding(tmp_path, idle_seconds=0.1) as server, connected(server) as sock:
        assert closed_by_server(sock)


def test_a_client_that_falls_silent_after_its_keys_is_closed(tmp_path: Path) -> None:
    with withstanding(tmp_path, idle_seconds=0.3) as server:
        client = introduced(server)
        assert closed_by_server(client.sock)
        client.close()


@pytest.mark.parametrize("sent", [1, 22, 23, 24, 277])
def test_a_request_that_stalls_is_closed(tmp_path: Path, sent: int) -> None:
    with withstanding(tmp_path, read_seconds=0.1) as server, connected(server) as sock:
        request = wire.request(bytes(16), 1100, b"name".ljust(255, b"\0"))
        sock.sendall(request[:sent])
        assert closed_by_server(sock)


def test_a_file_that_stalls_is_closed_and_discarded(tmp_path: Path) -> None:
    with withstanding(tmp_path, read_seconds=0.3) as server:
        client = introduced(server)
        client.send_raw(client.file_requests("file", LARGE)[0][:500_000])
        assert closed_by_server(client.sock)
        client.close()


def test_a_request_that_dribbles_is_closed(tmp_path: Path) -> None:
    with (
        withstanding(tmp_path, request_seconds=0.2, min_rate=2**20) as server,
        connected(server) as sock,
    ):
        dribble(sock, wire.request(bytes(16), 1100, bytes(255)) * 10)


@pytest.mark.parametrize("head", [23, 23 + 259], ids=["after the header", "after the name"])
def test_a_giant_file_that_dribbles_is_closed(tmp_path: Path, head: int) -> None:
    with withstanding(tmp_path, request_seconds=0.3, min_rate=2**20) as server:
        client = introduced(server)
        data = giant(client)
        client.send_raw(data[:head])
        dribble(client.sock, data[head:] + bytes(10_000))
        client.close()


def test_packets_without_a_gap_may_take_as_long_as_their_size_allows(tmp_path: Path) -> None:
    with withstanding(tmp_path, request_seconds=0.2, min_rate=1000) as server:
        client = introduced(server, "2024c", style=Style(packet_size=16))
        requests = client.file_requests("file", bytes(16 * 40))
        stream, step = b"".join(requests), len(requests[0])
        # Each piece ends in the middle of a packet, so that the stream never rests.
        cuts = [0, *range(step // 2, len(stream), step), len(stream)]
        for start, end in itertools.pairwise(cuts):
            client.sock.sendall(stream[start:end])
            time.sleep(0.02)
        assert client.read_response()[1] == client.generation.file_received
        client.close()


# Many


def test_two_hundred_silent_connections_keep_nobody_from_being_served(tmp_path: Path) -> None:
    with withstanding(tmp_path) as server:
        silent = [
            socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
            for _ in range(200)
        ]
        serves_honest(server, "amid the silence")
        for sock in silent:
            sock.close()


def test_a_hundred_resets_keep_nobody_from_being_served(tmp_path: Path) -> None:
    with withstanding(tmp_path) as server:
        for sent in range(100):
            client = PeerClient(server.port)
            client.connect()
            client.send_raw(b"\x03" * (sent % 23))
            client.abort()
        serves_honest(server, "after the resets")


# Broken off


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_a_connection_that_breaks_off_anywhere_leaves_nothing(
    tmp_path: Path, generation: str, *, reset: bool
) -> None:
    with withstanding(tmp_path) as server:
        known = introduced(server, generation)
        known.close()
        size = len(b"".join(known.file_requests("file", bytes(3000))))
        for cut in (*range(1, 30), *range(30, size, 97), size - 1, size):
            client = PeerClient(
                server.port,
                generation,
                name="hostile",
                client_id=known.client_id,
                private_key=private_key(),
            )
            client.connect()
            client.reconnect()
            client.send_raw(b"".join(client.file_requests("file", bytes(3000)))[:cut])
            client.abort() if reset else client.close()


def test_a_client_that_leaves_before_its_verdict_leaves_nothing(tmp_path: Path) -> None:
    with withstanding(tmp_path) as server:
        for number in range(10):
            client = introduced(server, name=f"hostile {number}")
            client.send_file("file", b"content")
            client.abort()


def test_a_client_that_never_reads_is_closed(tmp_path: Path) -> None:
    with withstanding(tmp_path, read_seconds=0.2) as server, socket.socket() as sock:
        idle_threads = threading.active_count()
        for side, size in ((server.listener.socket, socket.SO_SNDBUF), (sock, socket.SO_RCVBUF)):
            side.setsockopt(socket.SOL_SOCKET, size, 4096)
        sock.connect(("127.0.0.1", server.port))
        until(lambda: threading.active_count() > idle_threads, "the connection is served")
        sock.settimeout(0.05)
        while threading.active_count() > idle_threads:
            with contextlib.suppress(OSError):  # nothing of it can be sent after a while
                sock.sendall(wire.request(bytes(16), 1104, FIELD) * 100)


# Never content


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
def test_a_file_whose_checksum_never_matches_is_never_kept(tmp_path: Path, generation: str) -> None:
    with withstanding(tmp_path) as server:
        client = introduced(server, generation)
        for _ in range(20):
            client.send_file("file", b"content" * 300)
            client.crc_invalid("file")
        client.send_file("file", b"content" * 300)
        client.crc_abandoned("file")
        assert server.stored() == {}
        client.close()


def test_a_giant_announcement_costs_the_server_no_memory(tmp_path: Path) -> None:
    with withstanding(tmp_path, max_file_bytes=2**32 - 1) as server:
        client = introduced(server)
        tracemalloc.start()
        try:
            client.send_raw(giant(client) + bytes(1_500_000))
            until(lambda: staged_bytes(server) > 1_000_000, "the content arrives")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 4 * 2**20
        client.close()


def staged_bytes(server: Running) -> int:
    return sum(path.stat().st_size for path in server.staged())


@pytest.mark.parametrize("code", [0, 1100, 1103, 1028, 828, 900, 0xFFFF])
@pytest.mark.parametrize("size", [0, 1, 2**31])
def test_a_request_of_impossible_size_or_code_is_answered_and_closed(
    tmp_path: Path, code: int, size: int
) -> None:
    with withstanding(tmp_path, max_file_bytes=2**20) as server, connected(server) as sock:
        sock.sendall(wire.REQUEST_HEADER.pack(bytes(16), 3, code, size))
        answer = wire.read_exactly(sock, wire.RESPONSE_HEADER.size)
        assert wire.RESPONSE_HEADER.unpack(answer)[1] in {2107, 1607}
        assert closed_by_server(sock)

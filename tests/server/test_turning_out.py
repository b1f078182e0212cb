"""When every place is taken, who has proved nothing makes room for who comes."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from server.listener import Listener
from tests.load.attacks import client_hello
from tests.peer.client import PeerClient
from tests.peer4.serving import Serving, serving
from tests.server.data_connections import attached, ended_connections, stored_by
from tests.server.hostile_sessions import private_key
from tests.server.hostile_surroundings import closed_by_server
from tests.server.running import running

CONTENT = b"content"


def silent(port: int, opening: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    """A connection on which nothing comes but its beginning."""
    sock = socket.create_connection(("127.0.0.1", port), 20.0, source_address=(source, 0))
    sock.sendall(opening)
    return sock


def refused(port: int) -> bool:
    """Whether a connection more is closed at once."""
    with silent(port) as sock:
        return closed_by_server(sock)


def is_open(sock: socket.socket) -> bool:
    """Whether the server has not ended the connection by now."""
    sock.settimeout(0.1)
    return not closed_by_server(sock)


def honest3(server: Serving) -> None:
    with PeerClient(server.port, private_key=private_key()) as client:
        assert client.run("file", CONTENT).verified


def honest4(server: Serving) -> None:
    with server.peer("honest") as peer:
        peer.introduce().put("file", CONTENT)


OPENINGS = {
    "nothing": b"",
    "half of a TLS handshake": client_hello(),
    "half of a request of protocol 3": bytes(20),
    "half of a ticket": b"EFT/4 data" + bytes(6) + bytes(31),
}


@pytest.mark.parametrize("honest", [honest3, honest4])
@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
def test_a_crowd_that_proves_nothing_does_not_keep_others_out(
    tmp_path: Path, opening: bytes, honest: Callable[[Serving], None]
) -> None:
    with serving(tmp_path / "data", max_connections=3) as server, ExitStack() as stack:
        crowd = [stack.enter_context(silent(server.port, opening)) for _ in range(3)]
        ended_connections(server, left=3)
        honest(server)
        assert closed_by_server(crowd[0])
        assert [file.name for file in server.files()] == ["file"]


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    with running(tmp_path / "data", max_connections=3) as server, ExitStack() as stack:
        crowd = [stack.enter_context(silent(server.port)) for _ in range(5)]
        assert closed_by_server(crowd[0])
        assert closed_by_server(crowd[1])
        assert all(is_open(sock) for sock in crowd[2:])
        assert server.listener.refused == {"unproven": 2}


def test_a_client_that_only_registered_over_protocol_3_makes_room(tmp_path: Path) -> None:
    with serving(tmp_path / "data", max_connections=1) as server:
        client = PeerClient(server.port, private_key=private_key())
        client.connect()
        client.register()
        honest4(server)
        assert closed_by_server(client.sock)
        client.close()


@contextmanager
def proven3(server: Serving) -> Iterator[Callable[[], object]]:
    with PeerClient(server.port, private_key=private_key()) as client:
        client.register()
        client.send_public_key()
        yield lambda: client.send_file("file", CONTENT)


@contextmanager
def reconnected3(server: Serving) -> Iterator[Callable[[], object]]:
    with PeerClient(server.port, private_key=private_key()) as client:
        client.register()
        client.send_public_key()
        client.close()
        ended_connections(server)
        client.connect()
        client.reconnect()
        yield lambda: client.send_file("file", CONTENT)


@contextmanager
def proven4(server: Serving) -> Iterator[Callable[[], object]]:
    with server.peer() as peer:
        peer.introduce()
        yield lambda: peer.put("file", CONTENT)


@pytest.mark.parametrize("proven", [proven3, reconnected3, proven4])
def test_a_client_that_has_proved_itself_is_never_turned_out(
    tmp_path: Path, proven: Callable[[Serving], AbstractContextManager[Callable[[], object]]]
) -> None:
    with serving(tmp_path / "data", max_connections=1) as server, proven(server) as works:
        assert refused(server.port)
        assert refused(server.port)
        works()
        assert server.listener.refused == {"all": 2}


def test_a_data_connection_is_never_turned_out_once_its_ticket_was_taken(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "data", max_connections=3) as server,
        attached(server) as (peer, data),
        silent(server.port) as last,
    ):
        with silent(server.port) as another:
            assert closed_by_server(last)
            stored_by(peer, data)
            assert is_open(another)
        ended_connections(server, left=2)


def test_a_ticket_that_was_taken_counts_before_its_answer_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "data", max_connections=2) as server:
        listener, turned_out = server.listener, list[bool]()

        def keep_and_be_full(request: socket.socket) -> None:
            Listener.keep(listener, request)
            turned_out.append(listener._turn_out())

        monkeypatch.setattr(listener, "keep", keep_and_be_full)
        with attached(server) as (peer, data):
            stored_by(peer, data)
        assert turned_out == [False]


def test_who_has_too_many_from_one_address_does_not_cost_others_theirs(tmp_path: Path) -> None:
    limits = {"max_connections": 2, "max_connections_per_address": 1}
    with (
        running(tmp_path / "data", **limits) as server,
        silent(server.port, source="127.0.0.2") as other,
        silent(server.port) as own,
    ):
        assert refused(server.port)
        assert is_open(other)
        assert is_open(own)
        assert server.listener.refused == {"address": 1}


def test_a_protocol_3_client_without_a_key_may_still_take_its_time(tmp_path: Path) -> None:
    with running(tmp_path / "data", handshake_seconds=1.0) as server:
        client = PeerClient(server.port, private_key=private_key())
        client.connect()
        client.register()
        client.sock.settimeout(1.5)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(20.0)
        client.send_public_key()
        client.close()


# What one is told that finds no place

ALERT = bytes.fromhex("15030300020250")  # fatal, internal_error


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize("allowed", [False, True], ids=["4 only", "3 as well"])
def test_only_what_may_be_tls_gets_an_alert(
    tmp_path: Path, opening: bytes, *, allowed: bool
) -> None:
    limits = {"max_connections": 1, "max_connections_per_address": 1}
    everywhere = "0.0.0.0"  # noqa: S104 - where protocol 3 has to be asked for
    with (
        running(tmp_path / "data", host=everywhere, allow_protocol_3=allowed, **limits) as server,
        silent(server.port),
        connected() as (near, far),
    ):
        ended_connections(server, left=1)
        near.sendall(opening)
        assert not server.listener.verify_request(far, ("127.0.0.1", 1))
        server.listener.shutdown_request(far)
        begun = opening[:1] == b"\x16" if opening else not allowed
        assert near.recv(100) == (ALERT if begun else b"")
        if begun:
            assert near.recv(100) == b"", "closed, and not reset"


def test_whoever_is_gone_by_then_is_not_told(tmp_path: Path) -> None:
    with (
        running(tmp_path / "data", max_connections_per_address=1) as server,
        silent(server.port),
        connected() as (near, far),
    ):
        ended_connections(server, left=1)
        near.sendall(client_hello())
        near.close()
        assert not server.listener.verify_request(far, ("127.0.0.1", 1))
        server.listener.shutdown_request(far)


# What no connection can bring about at will


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(5.0)
        yield near, far


def test_one_that_is_turned_out_while_tls_begins_ends_all_the_same(tmp_path: Path) -> None:
    with (
        running(tmp_path / "data", max_connections=1) as server,
        connected() as (near, far),
        connected() as (other, _),
    ):
        listener = server.listener
        assert listener.verify_request(far, ("192.0.2.1", 1))
        again = far.dup()  # as TLS does, the registered socket is no more when the turn comes
        far.close()
        assert listener.verify_request(other, ("192.0.2.2", 1))
        listener.attach(far, again, None)
        assert closed_by_server(near)
        again.close()
        listener.close_request(far)
        listener.close_request(other)


def test_those_on_their_way_out_are_bounded(tmp_path: Path) -> None:
    with running(tmp_path / "data", max_connections=100) as server, ExitStack() as stack:
        listener = server.listener
        pairs = [stack.enter_context(connected()) for _ in range(165)]
        admitted = [
            listener.verify_request(far, (f"192.0.2.{number}", 1))
            for number, (_, far) in enumerate(pairs)
        ]
        assert admitted == [True] * 164 + [False]
        assert listener.refused == {"unproven": 64, "all": 1}
        listener.close_request(pairs[0][1])
        assert listener.verify_request(pairs[-1][1], ("192.0.2.255", 1))
        for _, far in pairs[1:]:
            listener.close_request(far)
        assert listener.connections == 0

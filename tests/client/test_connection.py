"""The byte channel over real sockets of this machine."""

import socket
from collections.abc import Iterator

import pytest

from client.address import Address
from client.connection import Connection
from client.errors import ConnectionLost, CouldNotConnect, NoSuchHost, ServerSilent


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    host = "127.0.0.1" if request.param == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=request.param) as listening:
        yield listening


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.05)
    with Connection(ours) as connection, theirs:
        yield connection, theirs


def address_of(listening: socket.socket) -> Address:
    return Address(*listening.getsockname()[:2])


def test_both_address_families_connect_and_carry_bytes(listener: socket.socket) -> None:
    with Connection.open(address_of(listener), 10) as connection:
        accepted, _ = listener.accept()
        with accepted:
            connection.send(b"to the server")
            assert accepted.recv(100) == b"to the server"
            accepted.sendall(b"to the client")
            assert connection.receive() == b"to the client"
            accepted.shutdown(socket.SHUT_WR)
            assert connection.receive() == b""
        assert connection.is_local


def test_a_host_name_connects_to_the_address_that_answers() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Connection.open(Address("localhost", listening.getsockname()[1]), 10) as connection,
    ):
        assert connection.is_local


def test_a_refused_connection_says_where(listener: socket.socket) -> None:
    address = address_of(listener)
    listener.close()

    with pytest.raises(CouldNotConnect) as caught:
        Connection.open(address, 10)

    assert str(caught.value) == (
        f"cannot connect to {address}: Connection refused; is the server running?"
    )


@pytest.mark.parametrize(
    ("cause", "error", "message"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            NoSuchHost,
            "'nowhere.example' has no address: Name or service not known",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
            CouldNotConnect,
            "'nowhere.example' cannot be looked up now",
        ),
        (TimeoutError("timed out"), CouldNotConnect, "nowhere.example:1 did not answer in 2.5 s"),
        (OSError("odd"), CouldNotConnect, "cannot connect to nowhere.example:1: odd; is the"),
    ],
)
def test_failures_to_connect_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, cause: OSError, error: type[Exception], message: str
) -> None:
    def fail(_address: object, _timeout: object) -> None:
        raise cause

    monkeypatch.setattr(socket, "create_connection", fail)

    with pytest.raises(error) as caught:
        Connection.open(Address("nowhere.example", 1), 2.5)

    assert str(caught.value).startswith(message)


def test_no_answer_in_time_is_a_silent_server(pair: tuple[Connection, socket.socket]) -> None:
    with pytest.raises(ServerSilent, match=r"not answered in 0\.05 s"):
        pair[0].receive()


def test_a_server_that_reads_nothing_is_a_silent_one(
    pair: tuple[Connection, socket.socket],
) -> None:
    with pytest.raises(ServerSilent, match="stopped reading"):
        pair[0].send(bytes(1 << 24))


def test_everything_is_sent_in_however_many_pieces(pair: tuple[Connection, socket.socket]) -> None:
    pair[0].send(memoryview(b"abc"))
    pair[0].send(b"")
    pair[0].send(b"def")

    assert pair[1].recv(100) == b"abcdef"


def test_a_vanished_server_is_a_lost_connection(pair: tuple[Connection, socket.socket]) -> None:
    pair[1].close()

    with pytest.raises(ConnectionLost, match="Broken pipe"):
        pair[0].send(b"x")


def test_a_reset_is_a_lost_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Connection.open(address_of(listening), 10)
        accepted, _ = listening.accept()
        connection.send(b"never read")
        accepted.close()

        with connection, pytest.raises(ConnectionLost, match="Connection reset"):
            connection.receive()


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        (("127.0.0.2", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("192.0.2.7", 1), False),
        (("2001:db8::7", 1, 0, 0), False),
    ],
)
def test_only_this_machine_is_local(peer: tuple[object, ...], is_local: bool) -> None:
    class Connected(socket.socket):
        def getpeername(self) -> tuple[object, ...]:
            return peer

    with Connection(Connected()) as connection:
        assert connection.is_local is is_local


def test_a_connection_that_has_ended_is_not_warned_about() -> None:
    with Connection(socket.socket()) as connection:
        assert connection.is_local

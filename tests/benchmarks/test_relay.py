"""The counting relay."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from benchmarks.peers.tool import HOST, Ports, free_port
from benchmarks.relay import Relay, relaying

_SECONDS = 30.0


@dataclass
class Ends:
    """A connection through the relay, as its two ends have it."""

    relay: Relay
    client: socket.socket
    server: socket.socket


@pytest.fixture
def ends() -> Iterator[Ends]:
    ports = Ports(free_port(), free_port())
    with (
        socket.create_server((HOST, ports.server)) as listening,
        relaying(ports) as relay,
        socket.create_connection((HOST, ports.client)) as client,
    ):
        server, _ = listening.accept()
        with server:
            for end in (client, server):
                end.settimeout(_SECONDS)
            yield Ends(relay, client, server)


def read(end: socket.socket, size: int) -> bytes:
    with end.makefile("rb") as stream:
        return stream.read(size)


def test_what_clients_send_is_counted_and_arrives(ends: Ends) -> None:
    content = bytes(range(256)) * 4096
    ends.client.sendall(content[:1000])
    assert read(ends.server, 1000) == content[:1000]
    ends.client.sendall(content[1000:2000])
    assert read(ends.server, 1000) == content[1000:2000]
    assert ends.relay.wait_for(2000, _SECONDS)
    assert ends.relay.to_server == 2000


def test_answers_arrive_and_are_not_counted(ends: Ends) -> None:
    ends.server.sendall(b"answer")
    assert read(ends.client, 6) == b"answer"
    assert ends.relay.to_server == 0


def test_waiting_ends_when_so_much_was_sent(ends: Ends) -> None:
    assert not ends.relay.wait_for(5, 0.01)
    ends.client.sendall(b"hello")
    assert ends.relay.wait_for(5, _SECONDS)


def test_a_relay_that_is_held_takes_no_more_and_loses_nothing(ends: Ends) -> None:
    ends.relay.hold_at(4)
    ends.client.sendall(b"half")
    assert read(ends.server, 4) == b"half"
    ends.client.sendall(b"rest")
    ends.client.close()
    assert not ends.relay.wait_for(5, 0.2)
    ends.relay.release()
    assert read(ends.server, -1) == b"rest"
    assert ends.relay.to_server == 8


def test_an_end_passes_through_and_the_other_direction_goes_on(ends: Ends) -> None:
    ends.client.sendall(b"last")
    ends.client.shutdown(socket.SHUT_WR)
    assert read(ends.server, -1) == b"last"
    ends.server.sendall(b"thanks")
    ends.server.shutdown(socket.SHUT_WR)
    assert read(ends.client, -1) == b"thanks"
    assert ends.relay.wait_until_idle(_SECONDS)


def test_a_client_that_vanishes_ends_the_servers_connection(ends: Ends) -> None:
    ends.client.sendall(b"half")
    assert read(ends.server, 4) == b"half"
    assert not ends.relay.wait_until_idle(0.01)
    ends.client.close()
    assert ends.server.recv(1) == b""
    ends.server.close()
    assert ends.relay.wait_until_idle(_SECONDS)

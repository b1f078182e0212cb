"""Messages over TLS: truncation, silence, and both sides sending at once."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.channel4 import Channel4
from client.errors import BrokenProtocol, ConnectionLost, ServerSilent
from client.rate import RateLimit
from protocol.header import MessageHeader
from protocol.messages4 import Begun, Content, Done, Outcomes, Stored, pack_message
from tests.client.tls_pair import tls_pair

Ends = tuple[Channel4, ssl.SSLSocket]


def _send_on(channel: Channel4) -> None:
    while True:
        channel.send(b"x")


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    client, server = tls_pair(tmp_path)
    channel = Channel4(client, timeout=5)
    yield channel, server
    channel.close()
    server.close()


def test_answers_come_in_order_however_they_are_cut(ends: Ends) -> None:
    channel, server = ends
    data = pack_message(Done(), 1) + pack_message(Begun(1 << 20), 2) + pack_message(Done(), 3)

    def dribble() -> None:
        for byte in data:
            server.sendall(bytes((byte,)))

    thread = threading.Thread(target=dribble)
    thread.start()
    assert [channel.receive() for _ in range(3)] == [(1, Done()), (2, Begun(1 << 20)), (3, Done())]
    thread.join()


def test_all_parts_are_sent(ends: Ends) -> None:
    channel, server = ends
    content = bytes(range(256)) * 20_000
    received = bytearray()

    def receive() -> None:
        while len(received) < len(content) + 4:
            received.extend(server.recv(1 << 16))

    thread = threading.Thread(target=receive)
    thread.start()
    channel.send(b"head", memoryview(content))
    thread.join()
    assert bytes(received) == b"head" + content


def test_a_server_that_does_not_read_before_it_has_written_is_no_deadlock(tmp_path: Path) -> None:
    client, server = tls_pair(tmp_path, buffer_bytes=4096)
    channel = Channel4(client, timeout=5)
    answers = b"".join(
        pack_message(Stored(bytes(60_000), 0, 1, (), bytes(64)), n) for n in range(1, 31)
    )
    received = 0

    def stubborn() -> None:
        nonlocal received
        server.sendall(answers)
        while received < 4 << 20:
            received += len(server.recv(1 << 16))

    thread = threading.Thread(target=stubborn)
    thread.start()
    channel.send(bytes(4 << 20))
    thread.join()
    assert received == 4 << 20
    assert [channel.receive()[0] for _ in range(30)] == list(range(1, 31))
    channel.close()
    server.close()


def test_an_end_without_farewell_is_a_cut(ends: Ends) -> None:
    channel, server = ends
    server.shutdown(2)  # of the socket beneath: TLS says nothing

    with pytest.raises(ConnectionLost, match="cut off"):
        channel.receive()
    with pytest.raises(ConnectionLost):
        channel.send(bytes(1 << 20))


def test_an_end_with_farewell_is_an_end(ends: Ends) -> None:
    channel, server = ends
    server.settimeout(0.1)
    with contextlib.suppress(OSError):
        server.unwrap()

    with pytest.raises(ConnectionLost, match="closed the connection"):
        channel.receive()


def test_what_was_answered_before_the_end_is_received(ends: Ends) -> None:
    channel, server = ends
    server.sendall(pack_message(Done(), 1))
    server.shutdown(2)
    with contextlib.suppress(ConnectionLost):
        for _ in range(100):
            channel.send(bytes(1 << 20))

    assert channel.receive() == (1, Done())
    with pytest.raises(ConnectionLost):
        channel.receive()


@pytest.mark.parametrize(
    "act", [lambda channel: channel.receive(), lambda channel: channel.send(bytes(64 << 20))]
)
def test_a_silent_server_is_given_up(tmp_path: Path, act: Callable[[Channel4], object]) -> None:
    client, server = tls_pair(tmp_path)
    channel = Channel4(client, timeout=0.2)

    with pytest.raises(ServerSilent):
        act(channel)
    channel.close()
    server.close()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        MessageHeader(32803, 1, 1).pack(),
        MessageHeader(1, 1, 0).pack(),
        b"\3" + pack_message(Done(), 1)[1:],
    ],
)
def test_what_is_no_answer_breaks_the_protocol(ends: Ends, data: bytes) -> None:
    channel, server = ends
    server.sendall(data)

    with pytest.raises(BrokenProtocol):
        channel.receive()


def test_content_that_nobody_asked_for_is_refused(ends: Ends) -> None:
    channel, server = ends
    server.sendall(pack_message(Content(0, True, bytes(16)), 1))

    with pytest.raises(BrokenProtocol, match="not asked for"):
        _send_on(channel)


def test_a_flood_of_answers_is_refused(ends: Ends) -> None:
    channel, server = ends
    with contextlib.suppress(OSError):
        server.settimeout(0.1)
        server.sendall(pack_message(Done(), 1) * 5000)

    with pytest.raises(BrokenProtocol):
        _send_on(channel)


def test_large_answers_are_taken_early_only_as_far_as_memory_allows(ends: Ends) -> None:
    channel, server = ends
    outcomes = pack_message(Outcomes(0, bytes(64), bytes(1 << 20)), 1)

    def flood() -> None:
        with contextlib.suppress(OSError):
            for _ in range(40):
                server.sendall(outcomes)

    flooding = threading.Thread(target=flood)
    flooding.start()
    with pytest.raises(BrokenProtocol, match="not asked for"):
        _send_on(channel)
    channel.close()
    server.close()
    flooding.join()


def test_answers_that_are_taken_make_room_for_others(ends: Ends) -> None:
    channel, server = ends
    outcomes = pack_message(Outcomes(0, bytes(64), bytes(1 << 20)), 1)
    for _ in range(20):
        sending = threading.Thread(target=server.sendall, args=(outcomes,))
        sending.start()
        while not channel.has_answer():
            pass
        assert isinstance(channel.receive()[1], Outcomes)
        sending.join()


def test_whether_an_answer_is_there_is_known_without_waiting(ends: Ends) -> None:
    channel, server = ends
    assert not channel.has_answer()
    server.sendall(pack_message(Done(), 1))
    while not channel.has_answer():
        pass
    assert channel.has_answer()
    assert channel.receive() == (1, Done())


def test_the_rate_is_told_of_every_byte(tmp_path: Path) -> None:
    client, server = tls_pair(tmp_path)
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    limit = RateLimit(100_000, clock=lambda: now, sleep=sleep)
    channel = Channel4(client, timeout=5, limit=limit)
    channel.send(bytes(50_000))
    sent_until = now
    server.sendall(pack_message(Stored(bytes(50_000), 0, 1, (), bytes(64)), 1))
    channel.receive()

    assert sent_until == pytest.approx(0.5, abs=0.15)
    assert now - sent_until == pytest.approx(0.5, abs=0.15)
    channel.close()
    server.close()


def test_closing_twice_is_harmless(ends: Ends) -> None:
    channel, _ = ends
    channel.close()
    channel.close()

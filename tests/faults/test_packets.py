"""The path between two networks does to real packets what it counts."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.aftermath import until
from tests.faults.impairments import CLEAN, Impairments
from tests.faults.namespaces import inside
from tests.faults.packets import CLIENT_ADDRESS, SERVER_ADDRESS, EmulatedPath, emulated_path
from tests.server.hostile_process import ROOT

_DATAGRAMS = 3000
_PADDING = b"\xa5" * 500
_RECEIVE_BYTES = 1 << 24
_PATIENCE_SECONDS = 60.0


def _received(path: EmulatedPath, impairments: Impairments) -> list[int]:
    """The numbers of the datagrams that arrive of those sent, in the order of their arrival; each
    must be whole."""
    with (
        _datagram_socket(path.server_network, SERVER_ADDRESS) as receiving,
        _datagram_socket(path.client_network, CLIENT_ADDRESS) as sending,
    ):
        receiving.setsockopt(socket.SOL_SOCKET, 33, _RECEIVE_BYTES)  # SO_RCVBUFFORCE
        receiving.settimeout(_PATIENCE_SECONDS)
        sending.connect(receiving.getsockname())
        path.become(impairments)
        for number in range(_DATAGRAMS):
            sending.send(number.to_bytes(4, "big") + _PADDING)
        # What comes at once would overtake what waits: the path stays as it is until all is there.
        until(
            lambda: path.become(impairments).taken >= _DATAGRAMS,
            lambda: f"{path.become(impairments)} of {_DATAGRAMS} datagrams",
        )
        counts = path.become(impairments)
        expected = counts.taken - counts.lost - counts.corrupted + counts.duplicated
        arrived = [_number(receiving.recv(1 << 16)) for _ in range(expected)]
        path.become(CLEAN)
        sending.send(_DATAGRAMS.to_bytes(4, "big") + _PADDING)
        assert _number(receiving.recv(1 << 16)) == _DATAGRAMS, "more arrives than was counted"
        return arrived


@contextmanager
def _datagram_socket(network: str, address: str) -> Iterator[socket.socket]:
    with inside(network):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with made:
        made.bind((address, 0))
        yield made


def _number(datagram: bytes) -> int:
    assert datagram[4:] == _PADDING
    return int.from_bytes(datagram[:4])


def test_datagrams_are_lost_doubled_and_overtaken_as_often_as_is_counted(
    path: EmulatedPath,
) -> None:
    arrived = _received(path, Impairments(0.005, 0.02, loss=0.1, duplication=0.1))
    counts = path.become(CLEAN)
    first_copies = list(dict.fromkeys(arrived))
    overtaken = latest = 0
    for number in first_copies:
        overtaken += number < latest
        latest = max(latest, number)

    assert counts.lost == _DATAGRAMS - len(first_copies)
    assert counts.duplicated == len(arrived) - len(first_copies)
    assert counts.reordered == overtaken
    # 10% of 3,000, give or take 6 standard deviations.
    assert 200 < counts.lost < 400
    assert 170 < counts.duplicated < 370
    assert counts.reordered > 0
    assert counts.delayed == _DATAGRAMS - counts.lost


@pytest.mark.usefixtures("path")  # which skips where there is no TUN
def test_the_same_seed_loses_and_doubles_the_same_datagrams() -> None:
    bad = Impairments(jitter_seconds=0.01, loss=0.1, duplication=0.1)

    def run() -> Counter[int]:
        with emulated_path(7) as again:
            return Counter(_received(again, bad))

    assert run() == run()


def test_the_receiving_kernel_drops_what_was_damaged(path: EmulatedPath) -> None:
    arrived = _received(path, Impairments(corruption=0.1))

    assert arrived == sorted(set(arrived))
    assert 200 < _DATAGRAMS - len(arrived) < 400
    assert path.become(CLEAN).corrupted == _DATAGRAMS - len(arrived)


def test_a_clean_path_passes_everything_in_order(path: EmulatedPath) -> None:
    assert _received(path, CLEAN) == list(range(_DATAGRAMS))


def test_tcp_brings_everything_intact_through_a_bad_path(path: EmulatedPath) -> None:
    content = random.randbytes(1 << 20)
    with inside(path.server_network):
        listening = socket.create_server((SERVER_ADDRESS, 0))
    with inside(path.client_network):
        client = socket.socket()
    with listening, client:
        client.settimeout(_PATIENCE_SECONDS)
        client.connect(listening.getsockname())
        server, came_from = listening.accept()
        path.become(Impairments(0.001, 0.004, loss=0.02, duplication=0.03, corruption=0.02))

        def send() -> None:
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        with server, server.makefile("rb") as stream:
            server.settimeout(_PATIENCE_SECONDS)
            arrived = stream.read()
        sending.join()
    counts = path.become(CLEAN)

    assert came_from[0] == CLIENT_ADDRESS
    assert hashlib.sha256(arrived).digest() == hashlib.sha256(content).digest()
    assert min(counts.lost, counts.duplicated, counts.corrupted, counts.reordered) > 0


@pytest.mark.usefixtures("path")  # which skips where there is no TUN
def test_the_emulator_ends_with_a_test_run_that_is_killed() -> None:
    script = (
        "import time; from tests.faults.packets import emulated_path\n"
        "with emulated_path(1) as path: print(path.server_network, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        network = Path(run.stdout.readline().strip())
        assert network.exists()
        os.kill(run.pid, signal.SIGKILL)
    until(lambda: not network.exists(), lambda: f"{network} is still there")


@pytest.mark.usefixtures("path")
def test_an_emulator_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(RuntimeError, match="has ended"), emulated_path(1):
        pass

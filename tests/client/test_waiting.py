"""A client that has to wait for a place, or for a server, says so."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client import Client
from client.errors import ClientError, ConnectionFailed, CouldNotConnect, ServerCrowded
from client.retrying import Announce
from tests.client.running4 import Server4, serving
from tests.peer4.client import Peer4

ROOT = Path(__file__).parents[2]
FULL = "has no place for another connection now"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server4]:
    """A server of protocol 4 alone with one place, at which alice is registered."""
    everywhere = "0.0.0.0"  # noqa: S104 - not loopback, which protocol 3 shares
    with serving(tmp_path / "server", host=everywhere, max_connections=1) as server:
        with client_of(server, tmp_path, retries=20) as client:
            client.register("alice")
        yield server


@contextmanager
def full(server: Server4) -> Iterator[Peer4]:
    """Its place is taken."""
    with Peer4(int(server.address.split(":")[1]), "bob") as bob:
        bob.introduce()
        yield bob


def client_of(
    server: Server4,
    tmp_path: Path,
    *,
    retries: int,
    on_delay: Announce | None = None,
) -> Client:
    return Client(
        server.address,
        directory=tmp_path / "state",
        fingerprint=server.fingerprint,
        retries=retries,
        on_delay=on_delay,
    )


def eft(server: Server4, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "client", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "EFT_SERVER": server.address},
        cwd=tmp_path,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("quick_keys", "waits")
def test_a_full_server_says_so_and_is_waited_for(small: Server4, tmp_path: Path) -> None:
    told: list[tuple[ConnectionFailed, float, int]] = []
    with full(small) as bob:

        def leave(error: ConnectionFailed, seconds: float, number: int) -> None:
            told.append((error, seconds, number))
            if len(told) == 2:
                bob.close()

        with client_of(small, tmp_path, retries=50, on_delay=leave) as alice:
            assert alice.whoami().name == "alice"
    assert {type(error) for error, _, _ in told} == {ServerCrowded}
    assert len(told) >= 2
    assert all(seconds > 0 for _, seconds, _ in told)
    assert [number for _, _, number in told] == list(range(1, len(told) + 1))


@pytest.mark.usefixtures("quick_keys", "waits")
def test_a_full_server_is_given_up_in_the_end(small: Server4, tmp_path: Path) -> None:
    with (
        full(small),
        client_of(small, tmp_path, retries=2) as alice,
        pytest.raises(ServerCrowded, match=r"has no place for another connection now$"),
    ):
        alice.whoami()


@pytest.mark.usefixtures("quick_keys", "waits")
def test_every_wait_is_told_of(tmp_path: Path) -> None:
    told: list[ClientError] = []
    with serving(tmp_path / "server") as server, client_of(server, tmp_path, retries=0) as client:
        client.register("alice")
    with (
        client_of(server, tmp_path, retries=3, on_delay=lambda e, *_: told.append(e)) as client,
        pytest.raises(CouldNotConnect),
    ):
        client.whoami()
    assert [type(error) for error in told] == [CouldNotConnect] * 3


@pytest.mark.usefixtures("quick_keys")
@pytest.mark.parametrize("quiet", [False, True], ids=["", "-q"])
def test_a_command_says_before_each_try_what_it_waits_for(
    small: Server4, tmp_path: Path, *, quiet: bool
) -> None:
    options = ["--directory", "state", "--retries", "2", *["-q"] * quiet]
    with full(small):
        done = eft(small, tmp_path, "ls", *options)
    fatal = f"Fatal: {small.address} {FULL}"
    tries = [] if quiet else ["1 of 2", "2 of 2"]
    assert (done.returncode, done.stdout) == (3, "")
    *waiting, last = done.stderr.splitlines()
    assert last == fatal
    assert [re.sub(r"\d+\.\d s", "N s", line) for line in waiting] == [
        f"{small.address} {FULL}; trying again in N s ({each})" for each in tries
    ]

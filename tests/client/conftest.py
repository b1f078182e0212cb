"""Fixtures of the client's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Client
from client.identity4 import make_key
from client.sealing import make_private_key
from tests.client.running4 import Server4, serving


@pytest.fixture(scope="session")
def private_key() -> bytes:
    """One RSA key for all tests to which it does not matter, since making one takes its time."""
    return make_private_key()


@pytest.fixture(scope="session")
def other_key() -> bytes:
    """A second one, for what must not be mixed up."""
    return make_private_key()


@pytest.fixture(scope="session")
def rsa_3072() -> bytes:
    """One key for every client of protocol 4."""
    return make_key()


@pytest.fixture
def quick_keys(monkeypatch: pytest.MonkeyPatch, rsa_3072: bytes) -> None:
    """Registering takes this key and not the second that making one takes."""
    monkeypatch.setattr("client.identity4.make_key", lambda: rsa_3072)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited between tries."""
    seconds: list[float] = []
    monkeypatch.setattr("client.link._sleep", seconds.append)
    return seconds


@pytest.fixture
def server4(tmp_path: Path) -> Iterator[Server4]:
    """A server of protocol 4 that anybody may register at."""
    with serving(tmp_path / "server") as server:
        yield server


@pytest.fixture
def alice(request: pytest.FixtureRequest, server4: Server4, tmp_path: Path) -> Iterator[Client]:
    """A client that is registered there."""
    request.getfixturevalue("quick_keys")
    request.getfixturevalue("waits")
    state = tmp_path / "state"
    with Client(server4.address, directory=state, fingerprint=server4.fingerprint) as client:
        client.register("alice")
        yield client

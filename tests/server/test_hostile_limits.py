"""What the operator limits stays limited, whatever clients do at the same time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.repository import Repository, Usage
from server.storage import DirectoryStorage
from tests.peer import client as peer
from tests.peer.client import PeerClient
from tests.peer.style import Style
from tests.server.hostile_doubles import FailingRepository
from tests.server.hostile_sessions import SessionPeer, Sessions, private_key, sessions
from tests.server.hostile_surroundings import PeerFrom, closed_by_server, until, withstanding
from tests.server.running import Running, running


def refused(client: SessionPeer, name: str, content: bytes) -> None:
    """The file is refused, leaves nothing, and the connection goes on."""
    with pytest.raises(peer.GeneralError):
        client.send_file(name, content)
    assert not client.session.ended


# Quotas


def test_a_client_may_keep_so_many_files(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", max_files_per_client=2) as served:
        client = served.introduced()
        client.store("one", b"1")
        client.store("two", b"2")
        refused(client, "three", b"3")
        assert served.stored() == {"one": b"1", "two": b"2"}


def test_a_client_with_all_its_files_may_replace_them(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", max_files_per_client=1) as served:
        client = served.introduced()
        client.store("one", b"older")
        client.store("one", b"newer")
        assert served.stored() == {"one": b"newer"}


def test_one_clients_quota_is_no_other_clients(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", max_files_per_client=1) as served:
        for name in ("Alice", "Bob"):
            served.introduced(name=name).store(f"{name}'s", b"1")
        assert len(served.stored()) == 2


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
def test_a_client_may_keep_so_many_bytes(tmp_path: Path, generation: str) -> None:
    with sessions(tmp_path / "data", max_bytes_per_client=10_000) as served:
        client = served.introduced(generation)
        client.store("one", bytes(6000))
        refused(client, "two", bytes(6000))
        client.store("three", bytes(3000))
        assert set(served.stored()) == {"one", "three"}


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
def test_a_file_may_have_so_many_bytes(tmp_path: Path, generation: str) -> None:
    with sessions(tmp_path / "data", max_file_bytes=10_000) as served:
        client = served.introduced(generation)
        client.store("small", bytes(9_900))
        if client.generation.in_packets:
            refused(client, "large", bytes(10_200))
        else:  # one message of that size is not even read
            client.send_raw(client.file_requests("large", bytes(10_200))[0])
            assert client.codes() == [2107]
            assert client.session.ended
        assert set(served.stored()) == {"small"}


@pytest.mark.parametrize("length", [20, 21])
def test_a_file_name_may_have_so_many_bytes(tmp_path: Path, length: int) -> None:
    with sessions(tmp_path / "data", max_name_bytes=20) as served:
        client = served.introduced()
        if length <= 20:
            client.store("n" * length, b"1")
        else:
            refused(client, "n" * length, b"1")
        assert len(served.stored()) == (length <= 20)


@pytest.mark.parametrize(("name", "fits"), [("n" * 20, True), ("n" * 21, False), ("é" * 11, False)])
def test_a_client_name_may_have_so_many_bytes(tmp_path: Path, name: str, fits: bool) -> None:
    with sessions(tmp_path / "data", max_name_bytes=20) as served:
        client = served.peer(name=name)
        if fits:
            client.register()
        else:
            with pytest.raises(peer.RegistrationFailed):
                client.register()


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DirectoryStorage, "free_bytes", lambda _self: 10_000)


@pytest.mark.usefixtures("small_disk")
def test_so_much_of_the_disk_is_kept_free(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", min_free_bytes=5_000) as served:
        client = served.introduced()
        refused(client, "large", bytes(5_001))
        client.store("small", bytes(4_000))


def begun(served: Sessions, name: str, size: int) -> SessionPeer:
    """A client that has sent the first packet of a file of this size."""
    client = served.introduced("2024c", name=name, style=Style(packet_size=100))
    client.send_raw(client.file_requests("file", bytes(size))[0])
    assert len(served.staged()) == 1
    return client


@pytest.mark.usefixtures("small_disk")
def test_what_is_being_received_counts_as_used_disk(tmp_path: Path) -> None:
    with sessions(tmp_path / "data", min_free_bytes=5_000) as served:
        first = begun(served, "first", 3_000)
        second = served.introduced(name="second")
        refused(second, "file", bytes(3_000))
        first.close()
        second.store("file", bytes(3_000))


QUOTAS: list[dict[str, Any]] = [{"max_files_per_client": 1}, {"max_bytes_per_client": 5_000}]
each_quota = pytest.mark.parametrize("quota", QUOTAS, ids=["files", "bytes"])


@each_quota
def test_two_connections_of_one_client_share_its_quota(
    tmp_path: Path, quota: dict[str, Any]
) -> None:
    with sessions(tmp_path / "data", **quota) as served:
        first = begun(served, "peer", 3_000)
        second = served.again(first)
        second.reconnect()
        refused(second, "other", bytes(3_000))


class Meanwhile(FailingRepository):
    """A repository in which something happens just after a client's usage was looked up."""

    happens: Callable[[], None] | None = None

    def usage(self, client_id: bytes) -> Usage:
        found = super().usage(client_id)
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return found


@each_quota
def test_a_file_kept_while_another_one_begins_counts(tmp_path: Path, quota: dict[str, Any]) -> None:
    doubles: list[Meanwhile] = []

    def wrap(real: Repository) -> Repository:
        doubles.append(Meanwhile(real))
        return doubles[0]

    with sessions(tmp_path / "data", wrap, **quota) as served:
        first = served.introduced()
        second = served.again(first)
        second.reconnect()
        first.send_file("first", bytes(3_000))
        assert first.client_id is not None
        served.services.receiver.quota.changed(first.client_id)
        doubles[0].happens = lambda: first.crc_valid("first")
        refused(second, "second", bytes(3_000))
        assert set(served.stored()) == {"first"}


# Connections


def silent(server: Running, kind: type[PeerClient] = PeerClient) -> PeerClient:
    """A client that connects and then says nothing."""
    client = kind(server.port, name=f"{kind.__name__}", private_key=private_key())
    client.connect()
    return client


def introduced(server: Running, name: str = "peer") -> PeerClient:
    """A client that has its key."""
    client = PeerClient(server.port, name=name, private_key=private_key())
    client.connect()
    client.register()
    client.send_public_key()
    return client


def answered(client: PeerClient) -> bool:
    """Whether the server serves this connection."""
    try:
        client.register()
    except peer.RegistrationFailed:
        return True
    except (EOFError, OSError):
        return False
    return True


def test_a_connection_beyond_the_limit_is_closed_and_the_others_go_on(tmp_path: Path) -> None:
    with withstanding(tmp_path, max_connections=3) as server:
        clients = [introduced(server, f"peer {number}") for number in range(3)]
        with silent(server) as another:
            assert closed_by_server(another.sock)
        for client in clients:
            client.send_file("file", b"content")
        for client in clients:
            client.close()


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
def test_a_connection_that_ends_makes_room_for_another(tmp_path: Path, limit: str) -> None:
    settings = {limit: 1}
    with running(tmp_path / "data", **settings) as server:
        with introduced(server), silent(server) as other:
            assert closed_by_server(other.sock)

        def free() -> bool:
            with silent(server) as other:
                return answered(other)

        until(free, "the place is free again")


def test_a_crowd_from_one_address_leaves_room_for_another_address(tmp_path: Path) -> None:
    with withstanding(tmp_path, max_connections_per_address=2) as server:
        crowd = [silent(server) for _ in range(5)]
        assert sum(answered(client) for client in crowd) == 2
        with silent(server, PeerFrom) as other:
            assert answered(other)
        for client in crowd:
            client.close()


def test_a_file_above_the_limit_is_told_before_the_connection_ends(tmp_path: Path) -> None:
    with running(tmp_path / "data", max_file_bytes=10_000) as server:
        for attempt in range(10):
            with PeerClient(server.port, name=f"peer {attempt}") as client:
                client.register()
                client.send_public_key()
                client.send_raw(b"".join(client.file_requests("large", bytes(3_000_000)))[:100_000])
                assert client.read_response()[1] == client.generation.general_error

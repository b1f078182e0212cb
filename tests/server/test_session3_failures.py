"""What a connection answers when database, disk or content fail, and what it keeps then."""

import errno
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.peer import client as peer
from tests.server.hostile_doubles import FailingRepository, disk_failing
from tests.server.hostile_sessions import SessionPeer, Sessions, badly_padded, sessions

CONTENT = b"some content that takes several blocks " * 5


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Sessions]:
    with sessions(tmp_path / "data", FailingRepository) as made:
        yield made
        database(made).failures = 0
        made.close_peers()
        assert made.staged() == []


def database(served: Sessions) -> FailingRepository:
    assert isinstance(served.repository, FailingRepository)
    return served.repository


# Failures of database and disk

STEPS: dict[str, Callable[[SessionPeer], object]] = {
    "register": lambda client: client.register(),
    "public key": lambda client: client.send_public_key(),
    "reconnect": lambda client: client.reconnect(),
    "file": lambda client: client.send_file("file", CONTENT),
    "verdict": lambda client: client.crc_valid("file"),
}


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("failing", STEPS)
def test_a_request_that_the_database_fails_succeeds_when_it_is_sent_again(
    served: Sessions, failing: str, failures: int
) -> None:
    client = served.peer()
    for name, step in STEPS.items():
        if name == failing:
            database(served).failures = failures
            for _ in range(failures):
                with pytest.raises(peer.GeneralError):
                    step(client)
        step(client)
    assert served.stored() == {"file": CONTENT}


FAILING_DISK: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "sync of the file": lambda: disk_failing("fsync"),
    "rename": lambda: disk_failing("rename"),
    "sync of the directory": lambda: disk_failing("fsync", after=1),
}


@pytest.mark.parametrize("failing", FAILING_DISK.values(), ids=FAILING_DISK)
def test_a_file_that_the_disk_failed_is_never_acknowledged(
    served: Sessions, failing: Callable[[], AbstractContextManager[None]]
) -> None:
    client = served.introduced()
    client.store("file", b"older")
    client.send_file("file", CONTENT)
    with failing(), pytest.raises(peer.GeneralError):
        client.crc_valid("file")
    with pytest.raises(peer.GeneralError):  # a second sync would prove nothing
        client.crc_valid("file")
    assert served.stored() == {"file": b"older"}
    client.store("file", CONTENT)


def test_a_file_for_which_there_is_no_memory_leaves_nothing_behind(
    served: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_descriptor: int, _size: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    client = served.introduced()
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", no_memory)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            client.send_file("file", CONTENT)
    assert served.staged() == []
    assert not served.services.receiver.quota._reservations


def test_a_file_that_cannot_be_written_is_refused_and_can_be_sent_again(served: Sessions) -> None:
    client = served.introduced()
    with disk_failing("write"), pytest.raises(peer.GeneralError):
        client.send_file("file", CONTENT)
    client.store("file", CONTENT)


# Content that does not decrypt


def test_content_that_does_not_decrypt_four_times_ends_the_connection(served: Sessions) -> None:
    client = served.introduced()
    for _ in range(3):
        client.send_raw(badly_padded(client))
    assert client.codes() == [2107] * 3
    assert not client.session.ended
    client.send_raw(badly_padded(client))
    assert client.codes() == [2107]
    assert client.session.ended


def test_content_that_does_not_decrypt_three_times_may_still_be_sent_well(
    served: Sessions,
) -> None:
    client = served.introduced()
    client.send_raw(badly_padded(client) * 3)
    assert client.codes() == [2107] * 3
    client.store("file", CONTENT)

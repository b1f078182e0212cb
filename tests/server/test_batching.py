"""What one connection's small files wait for, and in which order they are told of."""

import threading
from collections.abc import Sequence

import pytest

from protocol.errors import UnsafeName
from protocol.messages4 import Policy
from protocol.smallfiles import SmallFile
from server.batching import Batches
from server.repository import Action, Client, Event
from server.smallfiles import Arrived, SmallFiles

ALICE = Client(id=bytes(16), name="alice", registered_at=0, last_seen=0)
MANY = 1024
FILE = SmallFile(bytes(16), 0, 0, 0, Policy.ALWAYS, bytes(32), "a")


class Recorder(SmallFiles):
    """Notes what is published; the disk is as slow as the test wants it."""

    def __init__(self) -> None:
        self.disk = threading.Event()
        self.synced_by: list[str] = []
        self.published: list[tuple[list[int], Event]] = []

    def make_durable(self, batch: Sequence[Arrived]) -> None:
        assert batch
        assert self.disk.wait(20)
        self.synced_by.append(threading.current_thread().name)

    def publish(self, batch: Sequence[Arrived], event: Event) -> None:
        self.published.append(([arrived.request_id for arrived in batch], event))


def arrived(request_id: int, files: int = 1, message_bytes: int = 0) -> Arrived:
    return Arrived(
        request_id, ALICE, [FILE] * files, [None] * files, [bytes(16)] * files, message_bytes
    )


def event() -> Event:
    return Event(Action.UPLOAD)


def test_what_is_published_apart_has_an_event_of_its_own() -> None:
    # The trail has room for each event once: the files of a second commit would be missing in it.
    files = Recorder()
    batches = Batches(files)
    assert batches.add(arrived(1, MANY), event) == []
    assert batches.add(arrived(2), event) == []
    files.disk.set()
    assert [each.request_id for each in batches.finish(event)] == [1, 2]
    assert [ids for ids, _ in files.published] == [[1], [2]]
    first, second = (told.id for _, told in files.published)
    assert first != second
    assert not batches


def test_what_the_disk_has_not_got_is_not_published() -> None:
    files = Recorder()
    batches = Batches(files)
    batches.add(arrived(1, MANY), event)
    assert batches.finish(event, patience=0.01) == []
    assert files.published == []
    assert batches
    files.disk.set()
    assert [each.request_id for each in batches.finish(event)] == [1]


def test_no_more_waits_than_two_batches_of_messages_whatever_became_of_their_files() -> None:
    # Each may hold a table of 64 KiB for a single file, which is refused.
    files = Recorder()
    files.disk.set()
    batches = Batches(files)
    done = []
    for number in range(100):
        refused = arrived(number, message_bytes=2**20)
        refused.results[0] = UnsafeName("the name is too long")
        done += batches.add(refused, event)
        assert number - len(done) < 32
    done += batches.finish(event)
    assert [each.request_id for each in done] == list(range(100))


def test_where_there_is_no_thread_to_be_had_the_connection_syncs_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    files = Recorder()
    files.disk.set()
    batches = Batches(files)
    batches.add(arrived(1, MANY), event)
    assert files.synced_by == [threading.current_thread().name]
    assert [each.request_id for each in batches.finish(event)] == [1]
    assert not batches

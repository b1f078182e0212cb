"""The audit trail of a running server: at once in the log, a little later in the database."""

import itertools
import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from server.audit import Audit
from server.repository import Action, Event, Repository, RepositoryUnavailable, open_repository
from server.repository.sqlite import SqliteRepository

CONNECT = Event(Action.CONNECT, client="Alice", address="192.0.2.7")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return open_repository(f"sqlite:///{tmp_path / 'eft.sqlite3'}")


class Broken(SqliteRepository):
    """Refuses as many times as it is told to."""

    failures = 0

    def record(self, events: Sequence[Event]) -> None:
        if self.failures:
            self.failures -= 1
            raise RepositoryUnavailable("database: gone")
        super().record(events)


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    return Broken(tmp_path / "broken.sqlite3")


def test_what_was_recorded_is_in_the_trail_when_the_server_has_ended(
    repository: Repository,
) -> None:
    audit = Audit(repository, every_seconds=3600)
    events = [Event(Action.DOWNLOAD, at=number) for number in range(1200)]
    for event in events:
        audit.record(event)
    audit.close()
    with closing(repository):
        assert list(repository.events()) == events


def test_events_are_written_while_the_server_runs(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()
    record = repository.record

    def tell(events: Sequence[Event]) -> None:
        record(events)
        written.set()

    monkeypatch.setattr(repository, "record", tell)
    with closing(repository), closing(Audit(repository, every_seconds=0.01)) as audit:
        audit.record(CONNECT)
        assert written.wait(30)
        assert list(repository.events()) == [CONNECT]


def test_an_event_is_one_line_in_the_log(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "server.audit")
    with closing(repository), closing(Audit(repository)) as audit:
        audit.record(CONNECT)
        audit.record(replace(CONNECT, outcome="AccessDenied"))
    (done, denied) = [vars(record) for record in caplog.records]
    assert (done["levelname"], denied["levelname"]) == ("INFO", "WARNING")
    assert (done["outcome"], denied["outcome"]) == ("ok", "AccessDenied")
    assert (done["action"], done["client"], done["address"]) == ("connect", "Alice", "192.0.2.7")
    assert "subjects" not in done


def test_a_database_that_fails_is_tried_again_and_nothing_is_lost(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    broken.failures = 7
    seconds = itertools.count(0, 200)
    with closing(broken):
        audit = Audit(broken, every_seconds=0.01, clock=lambda: next(seconds))
        audit.record(CONNECT)
        while broken.failures:
            threading.Event().wait(0.01)
        audit.close()
        assert list(broken.events()) == [CONNECT]
    failing = (
        "the audit trail cannot be written: database: gone;"
        " events that wait: 1, in the log alone: 0"
    )
    # At 0, 600 and 1200 seconds.
    assert caplog.messages == [failing] * 3 + ["the audit trail is written again"]


def test_a_database_that_stays_away_costs_the_oldest_events_and_no_memory(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    broken.failures = 1
    with closing(broken):
        audit = Audit(broken, every_seconds=3600, most_waiting=3)
        for number in range(5):
            audit.record(Event(Action.DOWNLOAD, at=number))
        broken.failures = 0
        audit.close()
        assert [event.at for event in broken.events()] == [2, 3, 4]
    assert "2 events are in the log and not in the audit trail" in caplog.messages


def test_an_end_does_not_wait_for_a_database_that_is_gone(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    broken.failures = 1
    with closing(broken):
        audit = Audit(broken, every_seconds=3600)
        audit.record(CONNECT)
        audit.close()
        assert list(broken.events()) == []
    assert caplog.messages[-1] == "1 events are in the log and not in the audit trail"

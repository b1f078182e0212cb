"""A disk that fills up, fails or cannot be written, and a process that runs out of its means."""

import random
import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.faults.aftermath import Watch
from tests.faults.conftest import Place, Tell, Watching
from tests.faults.injection import (
    Injected,
    failing_calls,
    few_descriptors,
    filled,
    mounted,
    read_only,
)
from tests.faults.lengths import tried
from tests.faults.ordeals import Fault, Outcome, endure, suffer
from tests.faults.senders import Sender4, two_hoarders, until_refused

_SECONDS = 0.3
_SMALL_DISK_BYTES = 32 * 2**20
_DISK = ("EIO", "ENOSPC")
_SYNCS = "fsync,fdatasync,syncfs"


def calls(names: str, *errors: str, every: int = 3) -> Fault:
    """These system calls of the server fail now and then, each time for one of these reasons."""

    def fault(watch: Watch) -> AbstractContextManager[Injected]:
        return failing_calls(watch.server.pid, names, random.choice(errors), every=every)

    return fault


def no_descriptors(watch: Watch) -> AbstractContextManager[Injected]:
    """The server can open three files more and then none."""
    return few_descriptors(watch.server.pid, 3)


def staging_read_only(watch: Watch) -> AbstractContextManager[Injected]:
    """Nothing can be staged."""
    return read_only(watch.server.data / "staging")


def clients_read_only(watch: Watch) -> AbstractContextManager[Injected]:
    """Nothing can be published."""
    return read_only(*watch.client_directories())


def case(fault: str, cause: Fault, name: str, *, reconnecting: bool = False) -> list[ParameterSet]:
    """A row of the table."""
    return tried(fault, cause, reconnecting, name=name, short=1, long=40)


FAULTS = [
    *case("write fails", calls("write", *_DISK), "write"),
    *case("sync fails", calls(_SYNCS, *_DISK), "sync"),
    *case("rename fails", calls("rename", *_DISK), "rename"),
    *case("removal fails", calls("unlink", *_DISK), "unlink"),
    *case("staging is read-only", staging_read_only, "staging"),
    *case("clients' directories are read-only", clients_read_only, "clients"),
    *case("out of file descriptors", no_descriptors, "descriptors", reconnecting=True),
    *case("out of threads", calls("clone,clone3", "EAGAIN", every=1), "threads", reconnecting=True),
]
SQLITE_FAULTS = [
    *case("SQLite's write fails", calls("pwrite64", *_DISK), "pwrite"),
    *case("SQLite's truncation fails", calls("ftruncate", "EIO"), "truncate"),
]


@pytest.mark.parametrize(("fault", "cause", "reconnecting", "times"), FAULTS)
def test_a_disk_that_fails_loses_nothing_that_was_acknowledged(
    watch: Watch, tell: Tell, fault: str, cause: Fault, reconnecting: bool, times: int
) -> None:
    outcome = suffer(watch, cause, times=times, seconds=_SECONDS, reconnecting=reconnecting)
    tell(watch, fault, outcome, _disk_note(outcome))


@pytest.mark.parametrize("watch", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("fault", "cause", "reconnecting", "times"), SQLITE_FAULTS)
def test_a_database_file_that_cannot_be_written_loses_nothing_that_was_acknowledged(
    watch: Watch, tell: Tell, fault: str, cause: Fault, reconnecting: bool, times: int
) -> None:
    outcome = suffer(watch, cause, times=times, seconds=_SECONDS, reconnecting=reconnecting)
    tell(watch, fault, outcome, _disk_note(outcome))


def _disk_note(outcome: Outcome) -> str:
    return (
        f"struck {outcome.struck:,} times; {outcome.note}; after {outcome.restarts}"
        " something was left to the next start"
    )


@pytest.mark.parametrize("times", tried(name="full", short=1, long=40))
def test_a_full_disk_loses_nothing_that_was_acknowledged(
    place: Place, watching: Watching, tell: Tell, times: int
) -> None:
    with mounted(place.data, _SMALL_DISK_BYTES):
        watch = watching(place)
        outcome = suffer(
            watch, lambda watch: filled(watch.server.data), times=times, seconds=_SECONDS
        )
        tell(watch, "disk full to the last byte (tmpfs of 32 MiB)", outcome)


@pytest.mark.parametrize("times", tried(name="quota", short=1, long=20))
def test_a_quota_that_is_reached_loses_nothing_that_was_acknowledged(
    place: Place, watching: Watching, tell: Tell, times: int
) -> None:
    watch = watching(place, "--max-files-per-client", "40", senders=two_hoarders)
    hoarders = tuple(watch.senders)

    def reached(_number: int) -> float:
        assert all(until_refused(sender) for sender in hoarders)
        return time.monotonic()

    def serves_a_newcomer(since: float) -> float:
        newcomer = Sender4(f"newcomer {len(watch.senders)}", watch.server.port)
        newcomer.register()
        newcomer.send()
        watch.senders.append(newcomer)
        return time.monotonic() - since

    outcome = endure(watch, reached, times=times, serves=serves_a_newcomer)
    tell(watch, "quota of files reached", outcome, "")


@pytest.mark.parametrize("times", tried(name="missing", short=1, long=20))
def test_a_data_directory_that_was_missing_at_a_start_comes_back_with_every_file(
    place: Place, watching: Watching, tell: Tell, times: int, tmp_path: Path
) -> None:
    place = replace(place, database_url=place.database_url or f"sqlite:///{tmp_path / 'rows'}")
    watch = watching(place)
    away = tmp_path / "away"

    def missing(_number: int) -> float:
        watch.server.stop()
        place.data.rename(away)
        told = watch.server.start_in_vain()
        assert "the database belongs to another data directory" in told
        shutil.rmtree(place.data)
        away.rename(place.data)
        since = time.monotonic()
        watch.server.start()
        return since

    outcome = endure(watch, missing, times=times)
    note = "the start is refused with one line"
    tell(watch, "data directory missing at a start", outcome, note)

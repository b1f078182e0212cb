"""Whatever a power cut may leave of the disk, the next start keeps what was acknowledged.

See `tests.faults.crashes` for what it may leave.
"""

import hashlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from protocol.channel import format_fingerprint
from server.errors import ServerError
from server.repository import Repository
from server.serving import listening
from tests.faults.aftermath import untidy, visible
from tests.faults.commits import NEVER, Rows
from tests.faults.conftest import Report
from tests.faults.crashes import Fate, State, chosen_fates, random_fates
from tests.faults.lengths import tried
from tests.faults.recordings import (
    UPLOAD_ID,
    Promises,
    Recording,
    Workload,
    large_file_3,
    large_file_4,
    recorded,
    small_files_3,
    small_files_4,
)
from tests.faults.tracing import Call
from tests.mariadb import MariaDB
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.serving import serving, settings
from tests.peer4.wire import RefusedError


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that costs no time to sync, where the system has one."""
    where = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=where if os.access(where, os.W_OK) else None) as path:
        yield Path(path)


@dataclass(frozen=True)
class Remains:
    """Where what a power cut has left is put down: a directory and, unless its database is in that,
    the rows of one beside it."""

    data: Path
    rows: Rows | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a server needs to know to start there."""
        return {} if self.rows is None else {"database": self.rows.url}

    def put_down(self, state: State, commits: int) -> None:
        """Puts this in place of whatever was there."""
        put_down(state, self.data)
        if self.rows is not None:
            self.rows.put_back(commits)


@pytest.fixture
def remains(memory: Path) -> Iterator[Callable[[Recording, MariaDB | None], Remains]]:
    """Makes a place for what is left of a recorded server."""
    with ExitStack() as stack:

        def make(recording: Recording, beside: MariaDB | None) -> Remains:
            if beside is None:
                return Remains(memory / "data")
            rows = Rows(beside, recording.commits)
            stack.callback(rows.close)
            return Remains(memory / "data", rows)

        yield make


Make = Callable[[Recording, MariaDB | None], Remains]


@pytest.fixture
def beside(request: pytest.FixtureRequest) -> MariaDB | None:
    """The database server of a case, which is called after it if it has one."""
    if "mariadb" not in request.node.callspec.id:
        return None
    server: MariaDB = request.getfixturevalue("mariadb")
    return server


def case(workload: Workload, protocol: str, fault: str, *, name: str) -> list[ParameterSet]:
    """A row of the table for SQLite, and one for MariaDB."""
    return [
        *tried(workload, protocol, fault, name=name, short=0, long=12),
        *tried(workload, protocol, fault, name=f"mariadb-{name}", short=0, long=12),
    ]


@pytest.mark.parametrize(
    ("workload", "protocol", "fault", "times"),
    [
        *case(small_files_4, "4", "power cut, small files", name="small4"),
        *case(large_file_4, "4", "power cut, a large file", name="large4"),
        *case(small_files_3, "3", "power cut, small files", name="small3"),
        *case(large_file_3, "3", "power cut, a large file", name="large3"),
    ],
)
def test_the_next_start_keeps_what_was_acknowledged(
    tmp_path: Path,
    remains: Make,
    beside: MariaDB | None,
    report: Report,
    workload: Workload,
    protocol: str,
    fault: str,
    times: int,
) -> None:
    """`times` is the number of random states that are tried at each moment, besides those that are
    always."""
    recording = recorded(tmp_path, workload, beside)
    place = remains(recording, beside)
    seen: set[tuple[bytes, int, int]] = set()
    calls = -len(recording.commits)
    for moment in recording.moments():
        calls += 1
        required = sum(at < moment.until for at, _, _ in recording.promises.acknowledged)
        for state in moment.disk.states(chosen_fates(moment.disk.pending, more=times)):
            digest = _digest(state)
            for commits in moment.commits:
                if (key := (digest, commits, required)) not in seen:
                    seen.add(key)
                    place.put_down(state, commits)
                    check(recording, moment.until, place)
    assert len(seen) > len(recording.promises.sent)
    done = f" and {len(recording.commits)} commits" if beside else ""
    report(
        fault,
        database="MariaDB" if beside else "SQLite",
        protocol=protocol,
        times=len(seen),
        losses=[],
        recovery=[],
        note=f"states of the disk, after each of {calls} calls{done}",
    )


@pytest.mark.parametrize(
    "times",
    [
        *tried(name="resuming", short=3, long=300),
        *tried(name="mariadb-resuming", short=3, long=300),
    ],
)
def test_an_upload_goes_on_after_a_power_cut_and_what_becomes_visible_is_right(
    tmp_path: Path, remains: Make, beside: MariaDB | None, report: Report, times: int
) -> None:
    recording = recorded(tmp_path, large_file_4, beside)
    place = remains(recording, beside)
    name, content = recording.promises.sent[-1]
    begun_anew = 0
    for state, commits in _between_two_acknowledgements(recording, times):
        place.put_down(state, commits)
        with serving(place.data, **place.settings) as server:
            peer = Peer4(server.port, "alice", client_id=recording.promises.client_id)
            with peer.open().connect():
                begun_anew += not _upload(peer, name, content)
            is_there = server.stored() == {name: content}
            assert is_there
        # A name in staging that the cut had left beside the object's is removed by the next start.
        with serving(place.data, **place.settings) as server:
            assert server.is_tidy()
    report(
        "power cut, and the upload that it interrupted is resumed",
        database="MariaDB" if beside else "SQLite",
        protocol="4",
        times=times,
        losses=[],
        recovery=[],
        note=f"{begun_anew} begun anew because bytes that were not synced had gone",
    )


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return recorded(tmp_path_factory.mktemp("small"), small_files_3)


@pytest.fixture(scope="module")
def small_files_beside(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB) -> Recording:
    return recorded(tmp_path_factory.mktemp("small"), small_files_3, mariadb)


@pytest.mark.parametrize("unsynced", ["files", "directories", "database"])
@pytest.mark.parametrize(
    "recording", ["small_files", "small_files_beside"], ids=["sqlite", "mariadb"]
)
def test_the_model_finds_fault_with_a_server_that_does_not_sync(
    request: pytest.FixtureRequest,
    remains: Make,
    beside: MariaDB | None,
    recording: str,
    unsynced: str,
) -> None:
    """Or the tests above would prove nothing."""
    careless = _without_syncs(request.getfixturevalue(recording), unsynced)
    place = remains(careless, beside)
    *_, last = careless.moments()
    (state,) = last.disk.states([[Fate.LOST] * len(last.disk.pending)])
    place.put_down(state, last.commits.start)

    with pytest.raises((AssertionError, OSError, ServerError)):
        check(careless, last.until, place)


def test_the_model_finds_no_fault_at_the_end_with_a_server_that_syncs(
    small_files_beside: Recording, remains: Make, mariadb: MariaDB
) -> None:
    place = remains(small_files_beside, mariadb)
    *_, last = small_files_beside.moments()
    (state,) = last.disk.states([[Fate.LOST] * len(last.disk.pending)])
    place.put_down(state, last.commits.start)
    check(small_files_beside, last.until, place)


def _without_syncs(recording: Recording, unsynced: str) -> Recording:
    """The same calls, without those that make files, directories or the database durable."""

    def stays(call: Call) -> bool:
        is_database = call.target().name.startswith("eft.sqlite3")
        parts = {
            "database": is_database,
            "directories": call.target().is_dir(),
            "files": not is_database and not call.target().is_dir(),
        }
        return call.name not in ("fsync", "fdatasync", "syncfs") or not parts[unsynced]

    commits = recording.commits
    if unsynced == "database":  # of the last file, and what was answered was not true
        since = recording.promises.acknowledged[-2][0]
        commits = [replace(one, answered=NEVER) if one.at > since else one for one in commits]
    return replace(recording, calls=list(filter(stays, recording.calls)), commits=commits)


def _between_two_acknowledgements(recording: Recording, count: int) -> Iterator[tuple[State, int]]:
    """States of the disk with numbers of commits, at random."""
    (first, _, _), (last, _, _) = recording.promises.acknowledged
    points = [at for at, one in enumerate(recording.moments()) if first < one.until <= last]
    chosen = Counter(random.choices(points, k=count))
    for at, moment in enumerate(recording.moments()):
        for state in moment.disk.states(
            [random_fates(moment.disk.pending) for _ in range(chosen[at])]
        ):
            yield state, random.choice(moment.commits)


def _upload(peer: Peer4, name: str, content: bytes) -> bool:
    """Resumes; where that ends with a digest that differs, begins anew. Whether it was resumed."""
    try:
        peer.upload(name, content, upload_id=UPLOAD_ID)
    except RefusedError as refused:
        if refused.reason != wire.DIGEST_MISMATCH:
            raise
        peer.upload(name, content)
        return False
    return True


def check(recording: Recording, until: float, place: Remains) -> None:
    """Starts a server on what is left; everything that was promised by then must be there."""
    promises = recording.promises
    with listening(settings(place.data, **place.settings)) as listener:
        repository = listener.doors.services4.repository
        if promises.registered_at and promises.registered_at < until:
            assert listener.doors.certificate.current[1] == _fingerprint(recording)
            client = repository.find_client(promises.client_id)
            assert client is not None
            assert client.name == promises.name
        _check_files(promises, until, place.data, repository)


def _check_files(promises: Promises, until: float, data: Path, repository: Repository) -> None:
    stored = visible(data, repository)
    assert untidy(data, repository) == []
    # Names alone are compared by assertions, which would show megabytes.
    unsent = [name for (_, name), content in stored.items() if (name, content) not in promises.sent]
    assert unsent == []
    required = promises.required(until)
    lost = [name for name in required if stored.get((promises.name, name)) not in required[name]]
    assert lost == []


def put_down(state: State, data: Path) -> None:
    """Makes the directory that a state is, in place of what was there."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    first: dict[int, Path] = {}
    for path, content in state.items():
        if content is None:
            (data / path).mkdir(mode=0o700)
        elif id(content) in first:
            os.link(first[id(content)], data / path)
        else:
            first[id(content)] = data / path
            descriptor = os.open(data / path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)


def _fingerprint(recording: Recording) -> bytes:
    from protocol.channel import parse_fingerprint

    found = parse_fingerprint(recording.fingerprint)
    assert format_fingerprint(found) == recording.fingerprint
    return found


def _digest(state: State) -> bytes:
    whole = hashlib.sha256()
    for path in sorted(state):
        content = state[path]
        whole.update(f"{path}\0{None if content is None else len(content)}\0".encode())
        whole.update(content or b"")
    return whole.digest()

"""Whatever a power cut may leave of the disk, the next start keeps what was acknowledged.

See `tests.faults.crashes` for what it may leave.
"""

import hashlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.channel import format_fingerprint
from server.errors import ServerError
from server.repository import open_repository
from server.serving import listening
from tests.faults.aftermath import untidy, visible
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


@pytest.mark.parametrize(
    ("workload", "protocol", "fault", "times"),
    [
        *tried(small_files_4, "4", "power cut, small files", name="small4", short=0, long=12),
        *tried(large_file_4, "4", "power cut, a large file", name="large4", short=0, long=12),
        *tried(small_files_3, "3", "power cut, small files", name="small3", short=0, long=12),
        *tried(large_file_3, "3", "power cut, a large file", name="large3", short=0, long=12),
    ],
)
def test_the_next_start_keeps_what_was_acknowledged(
    tmp_path: Path,
    memory: Path,
    report: Report,
    workload: Workload,
    protocol: str,
    fault: str,
    times: int,
) -> None:
    """`times` is the number of random states that are tried after each call, besides those that
    are always."""
    recording = recorded(tmp_path, workload)
    seen: set[tuple[bytes, int]] = set()
    calls = 0
    for disk, until in recording.prefixes():
        calls += 1
        required = sum(at < until for at, _, _ in recording.promises.acknowledged)
        for state in disk.states(chosen_fates(disk.pending, more=times)):
            key = _digest(state), required
            if key not in seen:
                seen.add(key)
                check(recording, state, until, memory / "data")
    assert len(seen) > len(recording.promises.sent)
    report(
        fault,
        database="SQLite",
        protocol=protocol,
        times=len(seen),
        losses=[],
        recovery=[],
        note=f"states of the disk, after each of {calls} calls",
    )


@pytest.mark.parametrize("times", tried(name="resuming", short=3, long=300))
def test_an_upload_goes_on_after_a_power_cut_and_what_becomes_visible_is_right(
    tmp_path: Path, memory: Path, report: Report, times: int
) -> None:
    recording = recorded(tmp_path, large_file_4)
    name, content = recording.promises.sent[-1]
    begun_anew = 0
    for state in _states_between_two_acknowledgements(recording, times):
        put_down(state, memory / "data")
        with serving(memory / "data") as server:
            peer = Peer4(server.port, "alice", client_id=recording.promises.client_id)
            with peer.open().connect():
                begun_anew += not _upload(peer, name, content)
            is_there = server.stored() == {name: content}
            assert is_there
        # A name in staging that the cut had left beside the object's is removed by the next start.
        with serving(memory / "data") as server:
            assert server.is_tidy()
    report(
        "power cut, and the upload that it interrupted is resumed",
        database="SQLite",
        protocol="4",
        times=times,
        losses=[],
        recovery=[],
        note=f"{begun_anew} begun anew because bytes that were not synced had gone",
    )


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return recorded(tmp_path_factory.mktemp("small"), small_files_3)


@pytest.mark.parametrize("unsynced", ["files", "directories", "database"])
def test_the_model_finds_fault_with_a_server_that_does_not_sync(
    small_files: Recording, memory: Path, unsynced: str
) -> None:
    """Or the tests above would prove nothing."""

    def stays(call: Call) -> bool:
        is_database = call.target().name.startswith("eft.sqlite3")
        parts = {
            "database": is_database,
            "directories": call.target().is_dir(),
            "files": not is_database and not call.target().is_dir(),
        }
        return call.name not in ("fsync", "fdatasync", "syncfs") or not parts[unsynced]

    careless = replace(small_files, calls=[call for call in small_files.calls if stays(call)])
    *_, (disk, until) = careless.prefixes()
    (state,) = disk.states([[Fate.LOST] * len(disk.pending)])

    with pytest.raises((AssertionError, OSError, ServerError)):
        check(careless, state, until, memory / "data")


def _states_between_two_acknowledgements(recording: Recording, count: int) -> Iterator[State]:
    (first, _, _), (last, _, _) = recording.promises.acknowledged
    points = [until for _, until in recording.prefixes() if first < until <= last]
    chosen = Counter(random.choices(points, k=count))
    for disk, until in recording.prefixes():
        yield from disk.states([random_fates(disk.pending) for _ in range(chosen[until])])


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


def check(recording: Recording, state: State, until: float, data: Path) -> None:
    """Starts a server on what is left; everything that was promised by then must be there."""
    put_down(state, data)
    promises = recording.promises
    with listening(settings(data)) as listener:
        if promises.registered_at and promises.registered_at < until:
            assert listener.doors.certificate.current[1] == _fingerprint(recording)
            client = listener.doors.services4.repository.find_client(promises.client_id)
            assert client is not None
            assert client.name == promises.name
    _check_files(promises, until, data)


def _check_files(promises: Promises, until: float, data: Path) -> None:
    with closing(open_repository(f"sqlite:///{data / 'eft.sqlite3'}")) as repository:
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

"""`check`: every disagreement of database and disk is told, and what can be mended is, alone."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server import checking
from server.checking import REPAIRABLE, Check, Kind
from server.repository import Client, Publication, Repository, StoredFile
from server.storage import DirectoryStorage
from tests.server.commands import run, serving
from tests.server.on_disk import ALICE, OnDisk
from tests.server.repository import samples
from tests.server.running import running, settings_for_tests
from tests.server.writing import Writer

UNKNOWN = b"\x0f" * 16

Damage = Callable[[OnDisk], None]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[OnDisk]:
    """A server's data with a file of Alice's, `report`, whose object has ten bytes."""
    with OnDisk(tmp_path) as server:
        server.register()
        server.keep("report", b"0123456789")
        yield server


def report(kept: OnDisk) -> Path:
    """Where the object of the file lies."""
    file = kept.repository.find_file(ALICE, "report")
    assert file is not None
    return kept.storage.path(ALICE, file.object_id)


def found(kept: OnDisk, *, live: bool = False, deep: bool = True, age: float = 0.0) -> list[Kind]:
    """The problems, as a check tells that is made `age` seconds from now."""
    check = Check(kept.repository, kept.storage, live, deep, lambda: time.time() + age)
    return [problem.kind for problem in check.problems()]


def put_object(kept: OnDisk, client_id: bytes = ALICE, object_id: bytes = UNKNOWN) -> Path:
    path = kept.storage.path(client_id, object_id)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"unknown")
    return path


def begin(kept: OnDisk) -> bytes:
    """A pending upload without a staged file; its object's id."""
    client = kept.repository.find_client(ALICE)
    assert client is not None
    return kept.repository.begin_upload(samples.upload(client)).object_id


# Each makes one thing wrong.


def lose(kept: OnDisk) -> None:
    report(kept).unlink()


def set_aside(kept: OnDisk) -> None:
    kept.storage.set_aside(ALICE, bytes.fromhex(report(kept).name))


def cut(kept: OnDisk) -> None:
    os.truncate(report(kept), 9)


def alter(kept: OnDisk) -> None:
    report(kept).write_bytes(b"0123456780")


def make_unreadable(kept: OnDisk) -> None:
    path = report(kept)
    path.unlink()
    # What cannot be read as a file, and has the size that the database says.
    path.mkdir()
    size = path.stat().st_size
    file = kept.repository.find_file(ALICE, "report")
    assert file is not None
    change_size(kept.repository, size)


def change_size(repository: Repository, size: int) -> None:
    from server.repository.statements import SqlRepository

    assert isinstance(repository, SqlRepository)
    repository._write(lambda transaction: transaction.change("UPDATE files SET size = ?", size))


def add_unknown(kept: OnDisk) -> None:
    put_object(kept)


def add_unknown_of_nobody(kept: OnDisk) -> None:
    put_object(kept, b"\xbb" * 16)


def stage_unknown(kept: OnDisk) -> None:
    kept.storage.stage(UNKNOWN).close()


def lose_staged(kept: OnDisk) -> None:
    begin(kept)


def leave_superseded(kept: OnDisk) -> None:
    kept.repository.remove_file(ALICE, "report")


CASES = [
    (lose, Kind.MISSING),
    (set_aside, Kind.ASIDE),
    (cut, Kind.SIZE),
    (alter, Kind.CONTENT),
    (make_unreadable, Kind.UNREADABLE),
    (add_unknown, Kind.UNKNOWN_OBJECT),
    (add_unknown_of_nobody, Kind.UNKNOWN_OBJECT),
    (stage_unknown, Kind.UNKNOWN_STAGED),
    (lose_staged, Kind.LOST_UPLOAD),
    (leave_superseded, Kind.SUPERSEDED),
]


def test_nothing_is_wrong_with_what_a_server_leaves(kept: OnDisk) -> None:
    with closing(kept.storage.stage(begin(kept))):
        assert found(kept) == []
        assert found(kept, live=True) == []


@pytest.mark.parametrize(("damage", "kind"), CASES, ids=[case[0].__name__ for case in CASES])
def test_every_disagreement_is_told(kept: OnDisk, damage: Damage, kind: Kind) -> None:
    damage(kept)
    assert found(kept) == [kind]


def test_only_a_deep_check_reads_the_bytes(kept: OnDisk) -> None:
    alter(kept)
    assert found(kept, deep=False) == []


def test_a_file_of_protocol_4_is_compared_by_its_sha256(kept: OnDisk) -> None:
    path = put_object(kept)
    client = kept.repository.find_client(ALICE)
    assert client is not None
    digest = hashlib.sha256(path.read_bytes()).digest()
    file = StoredFile(ALICE, "new", UNKNOWN, 7, None, 1_700_000_000, digest, 0, 0o600)
    kept.repository.publish([Publication(file, os.urandom(16))], samples.sign)
    assert found(kept) == []
    path.write_bytes(b"UNKNOWN")
    assert found(kept) == [Kind.CONTENT]


@pytest.mark.parametrize("damage", [stage_unknown, lose_staged, leave_superseded, add_unknown])
def test_what_may_be_on_its_way_is_undecided_while_a_server_runs(
    kept: OnDisk, damage: Damage
) -> None:
    damage(kept)
    check = Check(kept.repository, kept.storage, live=True)
    assert list(check.problems()) == []
    assert check.totals.undecided == 1


def test_an_object_that_stays_unknown_is_told_while_a_server_runs(kept: OnDisk) -> None:
    add_unknown(kept)
    assert found(kept, live=True, age=3600) == [Kind.UNKNOWN_OBJECT]


@pytest.mark.parametrize("damage", [lose, cut, alter])
def test_a_damaged_file_is_told_while_a_server_runs(kept: OnDisk, damage: Damage) -> None:
    damage(kept)
    assert len(found(kept, live=True)) == 1


def test_a_file_that_is_replaced_meanwhile_is_no_problem(
    kept: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Check._wrong

    def late(self: Check, client: Client, file: StoredFile) -> tuple[Kind, str] | None:
        monkeypatch.setattr(Check, "_wrong", wrong)
        kept.keep("report", b"newer")  # which removes the object of the row that was read
        return wrong(self, client, file)

    monkeypatch.setattr(Check, "_wrong", late)
    assert found(kept, live=True) == []


def test_a_file_that_is_removed_meanwhile_is_no_problem(
    kept: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Check._wrong

    def late(self: Check, client: Client, file: StoredFile) -> tuple[Kind, str] | None:
        object_id = kept.repository.remove_file(ALICE, "report")
        assert object_id is not None
        kept.receiver.remove_superseded(ALICE, object_id)
        return wrong(self, client, file)

    monkeypatch.setattr(Check, "_wrong", late)
    assert found(kept, live=True) == []


# The command.


def run_check(kept: OnDisk, *, mend: bool = False) -> tuple[int, list[dict[str, Any]]]:
    """The status and the objects; the test's own hold on the data directory is let go before."""
    kept.close()
    lines: list[str] = []
    status = checking.run(kept.config, lines.append, deep=True, mend=mend, as_json=True)
    kept.open()
    return status, [json.loads(line) for line in lines]


@pytest.mark.parametrize(("damage", "kind"), CASES, ids=[case[0].__name__ for case in CASES])
def test_repair_mends_what_loses_no_file_and_nothing_else(
    kept: OnDisk, damage: Damage, kind: Kind
) -> None:
    damage(kept)
    before = kept.repository.find_file(ALICE, "report")
    status, told = run_check(kept, mend=True)
    mended = kind in REPAIRABLE
    assert status == (0 if mended else 1)
    assert [(each["kind"], each["mended"]) for each in told[:-1]] == [(kind, mended)]
    assert kept.repository.find_file(ALICE, "report") == before
    assert (run_check(kept)[0] == 0) is mended


def test_repair_keeps_the_bytes_of_unknown_objects(kept: OnDisk) -> None:
    add_unknown(kept)
    run_check(kept, mend=True)
    assert kept.orphans() == {UNKNOWN.hex()}


def test_the_summary_counts(kept: OnDisk) -> None:
    lose(kept)
    status, told = run_check(kept)
    assert status == 1
    assert told[0]["name"] == "report"
    assert told[0]["client"] == "Alice"
    assert told[-1] == {
        "summary": True, "problems": 1, "live": False, "clients": 1, "files": 1, "bytes": 10,
        "hashed": 0, "undecided": 0,
    }  # fmt: skip


def test_no_server_can_start_while_a_check_can_tell_everything(kept: OnDisk) -> None:
    kept.close()
    watched, live = DirectoryStorage.watching(kept.config.data)
    with closing(watched):
        assert not live
        with pytest.raises(Exception, match="in use by another server"):
            kept.open()
    kept.open()


def test_a_server_that_is_being_written_to_has_no_problems(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, registration="open") as server:
        writer = Writer(server)
        for _ in range(10):
            told: list[str] = []
            config = settings_for_tests(data)
            assert checking.run(config, told.append, deep=True, mend=False, as_json=False) == 0
            assert len(told) == 1
        writer.stop()


def test_the_command_while_a_server_runs(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--data", "data"):
        done = run(tmp_path, "--data", "data", "check", "--deep")
        assert (done.returncode, done.stdout.split(" ")[0]) == (0, "no")
        refused = run(tmp_path, "--data", "data", "check", "--repair")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == "error: a server is running: stop it before --repair\n"
    assert run(tmp_path, "--data", "data", "check", "--repair").returncode == 0


@pytest.mark.parametrize("data", ["nowhere", "without-database"])
def test_what_cannot_be_checked_is_no_problem_that_was_found(tmp_path: Path, data: str) -> None:
    (tmp_path / "without-database").mkdir()
    (tmp_path / "without-database" / "lock").touch()
    done = run(tmp_path, "--data", data, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "nowhere").exists()

"""The figures in docs/reliability.md are those that were measured."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.records import (
    DOCUMENT,
    RECORDS,
    Row,
    measured_commit,
    read,
    record,
    table,
    with_tables,
)

ROW = Row(
    "kills", "server killed", "SQLite", "4", 1000, 0, (0.7, 1.5), "make faults ONLY=x",
    "2026-11-25", "21f22f4",
)  # fmt: skip


def test_the_documents_tables_are_those_of_the_measured_rows() -> None:
    assert DOCUMENT.read_text() == with_tables(DOCUMENT.read_text(), read(RECORDS))


def test_every_measured_row_is_in_a_table() -> None:
    shown = DOCUMENT.read_text()

    assert [row.key for row in read(RECORDS) if "| " + " | ".join(row.cells()) not in shown] == []


def test_no_acknowledged_file_was_lost() -> None:
    assert [row.key for row in read(RECORDS) if row.losses] == []


def test_every_measured_row_tells_the_day_and_the_commit() -> None:
    told = re.compile(r"\d{4}-\d\d-\d\d [0-9a-f]{7,}(-dirty)?")

    assert [
        row.key for row in read(RECORDS) if not told.fullmatch(f"{row.date} {row.commit}")
    ] == []


def test_a_row_shows_median_and_longest_recovery_and_what_was_measured_when() -> None:
    assert list(table([ROW]))[2] == (
        "| server killed | SQLite | 4 | 1,000 | 0 | 0.7 / 1.5 |  | 2026-11-25, 21f22f4 "
        "| `make faults ONLY=x` |"
    )


def test_a_table_replaces_the_one_that_was_there() -> None:
    once = with_tables("a\n<!-- table kills -->\nb\n", [ROW])

    assert with_tables(once, [ROW]) == once
    assert once.splitlines()[-1] == "b"
    assert len(once.splitlines()) == 6


def test_a_row_measured_again_replaces_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    path = tmp_path / "records.json"
    monkeypatch.setenv("EFT_FAULT_RECORDS", str(path))
    record(ROW)
    record(replace(ROW, protocol="3"))
    record(replace(ROW, times=5))

    assert [(row.protocol, row.times) for row in read(path)] == [("3", 1000), ("4", 5)]


def test_a_commit_is_dirty_when_more_than_documents_have_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    def told() -> str:
        measured_commit.cache_clear()
        return measured_commit(tmp_path)

    try:
        assert told() == "unknown"
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "reliability.json").write_text("[]")
        (tmp_path / "server.py").write_text("")
        git("init", "--quiet")
        git("add", ".")
        git("commit", "--quiet", "--message", "Begin")
        clean = told()
        (tmp_path / "docs" / "reliability.json").write_text("[1]")
        assert re.fullmatch("[0-9a-f]{7,}", clean)
        assert told() == clean
        (tmp_path / "server.py").write_text("changed")
        assert told() == f"{clean}-dirty"
    finally:
        measured_commit.cache_clear()

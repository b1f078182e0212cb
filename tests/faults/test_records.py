"""The figures in docs/reliability.md are those that were measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.records import DOCUMENT, RECORDS, Row, read, record, table, with_tables

ROW = Row("kills", "server killed", "SQLite", "4", 1000, 0, (0.7, 1.5), "make faults ONLY=x")


def test_the_documents_tables_are_those_of_the_measured_rows() -> None:
    assert DOCUMENT.read_text() == with_tables(DOCUMENT.read_text(), read(RECORDS))


def test_every_measured_row_is_in_a_table() -> None:
    shown = DOCUMENT.read_text()

    assert [row.key for row in read(RECORDS) if "| " + " | ".join(row.cells()) not in shown] == []


def test_no_acknowledged_file_was_lost() -> None:
    assert [row.key for row in read(RECORDS) if row.losses] == []


def test_a_row_shows_median_and_longest_recovery() -> None:
    assert list(table([ROW]))[2] == (
        "| server killed | SQLite | 4 | 1,000 | 0 | 0.7 / 1.5 |  | `make faults ONLY=x` |"
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

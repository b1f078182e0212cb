"""The document about fuzzing says what the counts say."""

from tests.fuzz import results, target
from tests.fuzz.campaign import Outcome


def test_the_table_is_that_of_the_counts() -> None:
    assert results.TABLE.read_text() == results.table(results.read())


def test_the_counts_are_of_targets_that_are_there() -> None:
    assert set(results.read()) <= set(target.names())


def test_runs_add_up_and_a_clean_one_takes_failures_back() -> None:
    rows: dict[str, results.Row] = {}
    rows = results.added(rows, Outcome("names", 10, 1.0, 7, "broken"))
    assert rows["names"]["broken"] == 1
    rows = results.added(rows, Outcome("names", 5, 2.0, 6, None))
    assert rows == {"names": {"executions": 15, "seconds": 3.0, "edges": 7, "broken": 0}}
    assert "| **15** |" in results.table(rows)

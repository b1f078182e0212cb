"""Runs in turn: the order, and which runs count."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.alternating import Conditions, Contender, alternate, judged
from benchmarks.errors import RunFailed
from benchmarks.results import Run, Series
from benchmarks.sizes import MIB
from tests.benchmarks.samples import run

Step = Callable[[Path], Run]


@pytest.fixture
def conditions(tmp_path: Path) -> Conditions:
    return Conditions(
        work=tmp_path, repeat=2, quick=True, others=0.1, touched=MIB, progress=lambda _: None
    )


def contender(name: str, others: list[float | None]) -> Contender:
    """Takes a second; in its runs others take these shares, None makes the run fail."""
    shares = iter(others)

    def attempt(_directory: Path) -> Run:
        share = next(shares)
        if share is None:
            raise RunFailed("it broke")
        return run(name, 1.0, others=share)

    return Contender(Series(name), attempt)


def test_contenders_take_turns(conditions: Conditions) -> None:
    runs = alternate([contender("a", [0.0] * 9), contender("b", [0.0] * 9)], conditions)
    assert [item.series for item in runs] == ["a", "b", "a", "b"]


def test_a_discarded_run_is_kept_marked_and_made_up_for(conditions: Conditions) -> None:
    runs = alternate([contender("a", [0.3, 0.0, 0.0]), contender("b", [0.0] * 9)], conditions)
    assert [item.series for item in runs] == ["a", "b", "a", "b", "a"]
    assert [item.rejected for item in runs] == [
        "other processes took 30% of the processors", None, None, None, None,
    ]  # fmt: skip


def test_a_machine_that_is_never_quiet_does_not_run_for_ever(conditions: Conditions) -> None:
    runs = alternate([contender("a", [0.9] * 99)], conditions)
    assert len(runs) == 4
    assert all(item.rejected for item in runs)


def test_what_fails_twice_is_not_tried_again(conditions: Conditions) -> None:
    runs = alternate([contender("a", [None] * 9), contender("b", [0.0] * 9)], conditions)
    failures = [item for item in runs if item.series == "a"]
    assert [(item.failed, item.rejected, item.seconds) for item in failures] == [
        (True, "it broke", None)
    ] * 2


def test_each_run_has_a_directory_of_its_own_that_is_gone_afterwards(
    conditions: Conditions,
) -> None:
    seen: list[Path] = []

    def attempt(directory: Path) -> Run:
        assert list(directory.iterdir()) == []
        (directory / "large").touch()
        seen.append(directory)
        return run("a", 1.0)

    alternate([Contender(Series("a"), attempt)], conditions)
    assert len(set(seen)) == 2
    assert not any(directory.exists() for directory in seen)


def test_many_files_are_not_removed_between_runs(conditions: Conditions) -> None:
    def attempt(directory: Path) -> Run:
        for number in range(300):
            (directory / str(number)).touch()
        return run("a", 1.0)

    alternate([Contender(Series("a"), attempt)], conditions)
    assert sum(1 for _ in conditions.work.rglob("*")) == 2 * 301


@pytest.mark.parametrize(("others", "counts"), [(0.0, True), (0.1, True), (0.11, False)])
def test_a_run_counts_while_others_take_at_most_a_tenth(
    others: float,
    counts: bool,
) -> None:
    judgement = judged(run("a", 1.0, others=others, watched=1.0), 0.1)
    assert (judgement.rejected is None) is counts


def test_a_run_too_short_for_the_machines_ticks_counts() -> None:
    assert judged(run("a", 0.01, others=0.9, watched=0.05), 0.1).rejected is None


def test_a_short_part_of_a_long_run_is_judged_by_the_whole() -> None:
    assert judged(run("a", 0.01, others=0.9, watched=1.0), 0.1).rejected is not None

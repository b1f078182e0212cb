"""Honest clients of every kind are served beside dying and hostile ones, and nothing stays."""

from pathlib import Path

from tests.load.soak import SHORT, row, run


def test_nobody_honest_fails_and_nothing_is_left(tmp_path: Path) -> None:
    soaked = run(tmp_path, SHORT)
    assert soaked.tally.failures == []
    assert soaked.tally.transfers > 20
    assert soaked.after.descriptors <= soaked.idle.descriptors
    assert row(soaked, SHORT).cells["failures"] == "0"

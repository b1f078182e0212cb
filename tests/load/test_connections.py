"""Many clients at once are all served, and one too many is turned away at no cost to them."""

from pathlib import Path

from tests.load.connections import SHORT, run


def test_idle_and_active_clients_are_served_and_the_limit_holds(tmp_path: Path) -> None:
    crowded = run(tmp_path, SHORT)
    count = SHORT.idle + SHORT.active
    assert crowded.told["opened"] == crowded.told["alive"] == count
    assert crowded.told["failures"] == 0
    assert crowded.told["transfers"] >= SHORT.active
    assert crowded.idle.descriptors > count
    assert crowded.beyond_refused >= 30
    assert crowded.lowered_to < 1_000_000

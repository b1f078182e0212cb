"""Charts: that what was measured is in them."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.charts import draw
from benchmarks.results import Group, Series
from benchmarks.sizes import GIB
from tests.benchmarks.samples import discarded, growth, one_file, run


def texts(group: Group, path: Path) -> list[str]:
    """Every piece of text in the group's chart."""
    draw(group, path)
    return [
        (element.text or "").strip()
        for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314
    ]


def test_bars_have_the_name_and_the_median_of_each_series(tmp_path: Path) -> None:
    group = one_file(run("ours", 1.0), run("ours", 2.0), run("scp", 4.0), run("sftp -f", 8.0))
    shown = texts(group, tmp_path / "chart.svg")
    assert {"One file of 1 GiB", "ours", "scp", "sftp -f"} <= set(shown)
    assert {"1.50 s", "4.00 s", "8.00 s"} <= set(shown)


def test_a_series_without_a_run_that_counts_has_no_bar(tmp_path: Path) -> None:
    group = one_file(run("ours", 1.0), discarded("scp", 4.0), run("sftp -f", 8.0))
    shown = texts(group, tmp_path / "chart.svg")
    assert "scp" not in shown
    assert "4.00 s" not in shown


def test_bars_show_seconds_even_when_no_run_of_ours_counts(tmp_path: Path) -> None:
    group = one_file(discarded("ours", 1.0), run("scp", 4.0), run("sftp -f", 8.0))
    group.amount = 1024  # too small for a speed
    shown = texts(group, tmp_path / "chart.svg")
    assert "ours" not in shown
    assert {"4.00 s", "8.00 s"} <= set(shown)


def test_without_ours_bars_show_speeds(tmp_path: Path) -> None:
    names = ["tcp", "disk", "digest"]
    runs = [run(name, seconds) for name, seconds in zip(names, (0.5, 1.0, 2.0), strict=True)]
    series = [Series(name) for name in names]
    group = Group("limits", "limits", series, amount=GIB, files=1, runs=runs)
    shown = texts(group, tmp_path / "chart.svg")
    assert {"2,147 MB/s", "1,074 MB/s", "537 MB/s"} <= set(shown)


def test_curves_have_every_place_on_the_axis(tmp_path: Path) -> None:
    runs = [run(name, float(x), x=float(x)) for name in ("ours", "scp") for x in (1, 8, 64)]
    shown = texts(growth(*runs), tmp_path / "chart.svg")
    assert {"1", "8", "64", "ours", "scp", "clients"} <= set(shown)


@pytest.mark.parametrize("axis", [True, False])
def test_the_same_results_give_the_same_file(tmp_path: Path, axis: bool) -> None:
    group = growth(run("ours", 1.0, x=1.0)) if axis else one_file(run("ours", 1.0))
    for name in ("first", "second"):
        draw(group, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()

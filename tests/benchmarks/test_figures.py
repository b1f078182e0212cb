"""Figures: what counts, and what is made of it."""

import pytest

from benchmarks.figures import ratio, summaries, summarise, summary_of
from benchmarks.sizes import MIB
from tests.benchmarks.samples import discarded, failed, growth, one_file, run


def test_the_median_is_that_of_the_runs_that_count() -> None:
    runs = [run("ours", 3.0), discarded("ours", 90.0), run("ours", 1.0), run("ours", 2.5)]
    summary = summarise([*runs, failed("ours")])
    assert summary.median == 2.5
    assert (summary.least, summary.most) == (1.0, 3.0)
    assert (summary.counted, summary.discarded, summary.failed) == (3, 1, 1)


def test_an_even_number_of_runs_has_the_median_between_the_middle_two() -> None:
    assert summarise([run("ours", 1.0), run("ours", 4.0)]).median == 2.5


def test_processor_time_is_a_median_and_memory_the_largest() -> None:
    runs = [
        run("ours", 1.0, client_cpu=1.0, server_cpu=0.1, client_peak=3 * MIB, server_peak=None),
        run("ours", 1.0, client_cpu=9.0, server_cpu=0.3, client_peak=5 * MIB, server_peak=7 * MIB),
        run("ours", 1.0, client_cpu=2.0, server_cpu=0.2, client_peak=None, server_peak=6 * MIB),
    ]
    summary = summarise(runs)
    assert (summary.client_cpu, summary.server_cpu) == (2.0, 0.2)
    assert (summary.client_peak, summary.server_peak) == (5 * MIB, 7 * MIB)


def test_what_a_discarded_run_took_is_nowhere_in_the_figures() -> None:
    noisy = run("ours", 9.0, client_peak=999 * MIB, extra={"failures": 7.0}, rejected="others")
    summary = summarise([run("ours", 1.0), noisy])
    assert summary.client_peak == 30 * MIB
    assert summary.extra == {}


def test_without_a_run_that_counts_there_is_no_figure() -> None:
    summary = summarise([discarded("ours", 1.0), failed("ours")])
    assert summary.median is None
    assert summary.least is None
    assert summary.client_cpu is None


def test_further_figures_are_medians_of_the_runs_that_have_them() -> None:
    runs = [run("ours", 1.0, extra={"again": n}) for n in (1.0, 5.0, 2.0)]
    assert summarise([*runs, run("ours", 1.0)]).extra == {"again": 2.0}


def test_a_ratio_is_ours_divided_by_the_other() -> None:
    group = one_file(run("ours", 1.0), run("scp", 4.0))
    assert ratio(summary_of(group, "ours"), summary_of(group, "scp")) == 0.25


@pytest.mark.parametrize("runs", [(), (discarded("scp", 4.0),), (failed("scp"),)])
def test_there_is_no_ratio_to_what_was_not_measured(runs: tuple[object, ...]) -> None:
    group = one_file(run("ours", 1.0), *runs)  # type: ignore[arg-type]
    assert ratio(summary_of(group, "ours"), summary_of(group, "scp")) is None
    assert ratio(summary_of(group, "scp"), summary_of(group, "ours")) is None


def test_summaries_come_in_the_order_of_the_series_whatever_ran_first() -> None:
    group = one_file(run("sftp -f", 1.0), run("scp", 1.0), run("ours", 1.0))
    assert [summary.series for summary in summaries(group)] == ["ours", "scp", "sftp -f"]


def test_places_of_a_curve_are_summarised_each_for_itself() -> None:
    group = growth(
        run("ours", 9.0, x=10.0), run("ours", 1.0, x=2.0), run("scp", 5.0, x=2.0),
        run("ours", 3.0, x=2.0),
    )  # fmt: skip
    found = [(summary.series, summary.x, summary.median) for summary in summaries(group)]
    assert found == [("ours", 2.0, 2.0), ("ours", 10.0, 9.0), ("scp", 2.0, 5.0)]

"""The document that is generated from results."""

from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.document import BEGIN, END, replaced, write_document
from benchmarks.errors import BenchmarkError
from benchmarks.report import chart_name, report
from benchmarks.tables import group_table
from tests.benchmarks.samples import discarded, failed, growth, one_file, result, run

_RUNS = (
    run("ours", 1.0), run("ours", 2.0), run("ours", 6.0),
    run("scp", 4.0), run("scp", 5.0), discarded("scp", 90.0),
    failed("sftp -f", "no room"),
)  # fmt: skip


def cells(text: str, first: str) -> list[str]:
    """The cells of the row that begins with `first`."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_row_has_median_range_speed_ratio_and_what_was_used() -> None:
    table = group_table(one_file(*_RUNS))
    assert cells(table, "ours") == [
        "ours", "2.00", "1.00 to 6.00", "537", "-", "0.500 + 0.250", "30 MiB + 40 MiB", "3",
    ]  # fmt: skip
    assert cells(table, "scp") == [
        "scp", "4.50", "4.00 to 5.00", "239", "0.44", "0.500 + 0.250", "30 MiB + 40 MiB",
        "2, 1 discarded",
    ]  # fmt: skip


def test_a_series_without_a_run_that_counts_shows_no_figure() -> None:
    row = cells(group_table(one_file(*_RUNS)), "sftp -f")
    assert row[1:5] == ["-", "-", "-", "-"]
    assert row[-1] == "0, 1 failed"


def test_further_figures_have_columns_of_their_own() -> None:
    group = one_file(run("ours", 1.0, extra={"MiB sent again": 0.5}), run("scp", 1.0))
    table = group_table(group)
    assert "| MiB sent again |" in table
    assert cells(table, "ours")[-2] == "0.50"
    assert cells(table, "scp")[-2] == "-"


def test_curves_have_a_row_for_each_place_and_show_what_was_discarded() -> None:
    table = group_table(
        growth(
            run("ours", 1.0, x=1.0),
            run("scp", 2.0, x=1.0),
            run("ours", 3.0, x=64.0),
            run("scp", 9.0, x=64.0, rejected="others"),
        )
    )
    assert cells(table, "clients") == ["clients", "ours, seconds", "scp, seconds"]
    assert cells(table, "1") == ["1", "1.00", "2.00"]
    assert cells(table, "64") == ["64", "3.00", "- (0, 1 discarded)"]


def test_the_report_says_how_many_runs_were_discarded_and_which_failed() -> None:
    text = report([result("1", one_file(*_RUNS))], "charts")
    assert "1 of 7 runs discarded: other processes took too much of the machine." in text
    assert "Failed: sftp -f: no room." in text


def test_the_report_says_what_each_peer_lacks_once() -> None:
    text = report([result("1", one_file(*_RUNS)), result("7", one_file(*_RUNS))], "charts")
    assert text.count("| scp | no sync, no receipt |") == 1


def test_versions_that_differ_between_cases_are_told_apart() -> None:
    text = report([result("1", commit="abc"), result("2"), result("3", commit="def")], "charts")
    assert "| this project | abc (case 1, 2); def (case 3) |" in text
    assert "| OpenSSH | 9.2p1 |" in text
    assert "| date | 2026-01-02 |" in text


def test_a_smoke_tests_figures_are_marked() -> None:
    assert "these figures mean nothing" in report([result("1", quick=True)], "charts")
    assert "these figures mean nothing" not in report([result("1")], "charts")


def test_targets_stand_with_what_was_measured() -> None:
    text = report([result("1", one_file(*_RUNS))], "charts")
    assert "| one file of 1 GiB, against the best (scp): time | at most 0.80 | 0.44 | yes |" in text


def test_only_groups_that_compare_something_have_a_chart() -> None:
    full = result("1", one_file(*_RUNS))
    assert chart_name(full, full.groups[0]) == "case-1-put-1g.svg"
    noisy = one_file(discarded("ours", 1.0), failed("scp"))
    assert chart_name(result("1", noisy), noisy) is None


def test_what_is_written_by_hand_stays() -> None:
    text = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    assert replaced(text, "new\n") == f"# Title\n\nbefore\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert replaced(replaced(text, "x"), "new") == replaced(text, "new")


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_document_without_the_markers_is_left_alone(text: str) -> None:
    with pytest.raises(BenchmarkError, match="lacks the lines"):
        replaced(text, "new")


def test_the_document_is_made_of_all_results_in_order_with_their_charts(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    directory = tmp_path / "benchmarks" / "results"
    for case in ("large", "10", "2"):
        results.write(result(case, one_file(*_RUNS)), directory / f"{case}.json")
    (tmp_path / "benchmarks" / "case-9-old.svg").touch()
    write_document(document)
    text = document.read_text()
    assert text.index("## 2. ") < text.index("## 10. ") < text.index("## large. ")
    charts = sorted(path.name for path in (tmp_path / "benchmarks").glob("*.svg"))
    assert charts == ["case-10-put-1g.svg", "case-2-put-1g.svg", "case-large-put-1g.svg"]
    assert "(benchmarks/case-2-put-1g.svg)" in text


def test_without_results_there_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no results"):
        write_document(tmp_path / "benchmarks.md")
    assert not (tmp_path / "benchmarks.md").exists()

"""Results as Markdown."""

from collections.abc import Sequence

from benchmarks.figures import Summary, ratio, summaries
from benchmarks.results import CaseResult, Environment, Group
from benchmarks.sizes import MIB

_OURS = "ours"
_NONE = "-"


def report(results: Sequence[CaseResult]) -> str:
    """Everything that was measured, in the order of the results."""
    parts = [_case(result) for result in results]
    return "\n\n".join([*parts, _environments(results)])


def _case(result: CaseResult) -> str:
    heading = f"## {result.case}. {result.title}"
    if result.quick:
        heading += " (smoke test: these figures mean nothing)"
    return "\n\n".join([heading, *result.notes, *map(group_table, result.groups)])


def group_table(group: Group) -> str:
    """One comparison as a table, with its title above."""
    found = summaries(group)
    ours = next((summary for summary in found if summary.series == _OURS), None)
    rows = [_row(group, summary, ours) for summary in found]
    head = (
        "", "seconds", "least to most", _speed_unit(group), "ours / this", "CPU client + server",
        "peak memory client, server", "runs", "discarded",
    )  # fmt: skip
    return f"### {group.title[0].upper()}{group.title[1:]}\n\n{table(head, rows)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(group: Group, summary: Summary, ours: Summary | None) -> list[str]:
    quotient = None if summary is ours else ratio(ours, summary)
    return [
        summary.series,
        seconds(summary.median),
        f"{seconds(summary.least)} to {seconds(summary.most)}" if summary.median else _NONE,
        _speed(group, summary),
        _NONE if quotient is None else f"{quotient:.2f}",
        f"{seconds(summary.client_cpu)} + {seconds(summary.server_cpu)}",
        f"{mebibytes(summary.client_peak)}, {mebibytes(summary.server_peak)}",
        str(summary.counted) + (f", {summary.failed} failed" if summary.failed else ""),
        str(summary.discarded),
    ]


def seconds(value: float | None) -> str:
    """With as many places as mean something."""
    if value is None:
        return _NONE
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def mebibytes(value: int | None) -> str:
    """In MiB, rounded."""
    return _NONE if value is None else f"{value / MIB:.0f} MiB"


def _speed_unit(group: Group) -> str:
    return "MB/s" if group.files == group.clients else "files/s"


def _speed(group: Group, summary: Summary) -> str:
    if not summary.median:
        return _NONE
    amount = group.amount / 1e6 if group.files == group.clients else group.files
    return f"{amount / summary.median:,.0f}"


def _environments(results: Sequence[CaseResult]) -> str:
    """The machines and versions, each with the cases that were measured there."""
    found: list[tuple[Environment, list[CaseResult]]] = []
    for result in results:
        for environment, cases in found:
            if environment == result.environment:
                cases.append(result)
                break
        else:
            found.append((result.environment, [result]))
    return "\n\n".join(["## Machine and versions", *(_environment(*item) for item in found)])


def _environment(environment: Environment, results: Sequence[CaseResult]) -> str:
    cases = ", ".join(f"{result.case} ({result.began[:10]})" for result in results)
    rows = [*environment.machine.items(), *environment.versions.items()]
    return f"Case {cases}:\n\n{table(('', ''), [list(row) for row in rows])}"

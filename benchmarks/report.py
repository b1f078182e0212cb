"""All results as Markdown, with charts beside it."""

from collections.abc import Mapping, Sequence

from benchmarks.results import OURS, CaseResult, Group
from benchmarks.tables import NOTHING, group_table, table
from benchmarks.targets import verdicts

_DISCARDED = "other processes took too much of the machine"


def report(results: Sequence[CaseResult], charts: str) -> str:
    """Everything that was measured, in the order of the results.

    Links lead to the images in the directory `charts`.
    """
    parts = [_environments(results), _targets(results), *(_case(item, charts) for item in results)]
    return "\n\n".join([*parts, _lacks(results)])


def chart_name(result: CaseResult, group: Group) -> str | None:
    """The file name of a group's chart; None when a chart would show nothing."""
    if len(group.series) <= 2 or not any(run.rejected is None for run in group.runs):
        return None
    return f"case-{result.case}-{group.key}.svg"


def _case(result: CaseResult, charts: str) -> str:
    heading = f"## {result.case}. {result.title}"
    if result.quick:
        heading += " (smoke test: these figures mean nothing)"
    parts = [heading, *result.notes]
    for group in result.groups:
        title = group.title[0].upper() + group.title[1:]
        parts += [f"### {title}", group_table(group)]
        discarded = _discarded(group)
        if discarded:
            parts.append(discarded)
        chart = chart_name(result, group)
        if chart:
            parts.append(f"![{title}]({charts}/{chart})")
    return "\n\n".join(parts)


def _discarded(group: Group) -> str:
    count = sum(run.rejected is not None and not run.failed for run in group.runs)
    failures = sorted(
        {f"{run.series}: {run.rejected}" for run in group.runs if run.failed and run.rejected}
    )
    lines = [f"{count} of {len(group.runs)} runs discarded: {_DISCARDED}."] if count else []
    lines += [f"Failed: {failure}." for failure in failures]
    return "\n".join(lines)


def _targets(results: Sequence[CaseResult]) -> str:
    rows = [
        [verdict.target, verdict.wanted, verdict.measured, _yes(verdict.met)]
        for verdict in verdicts(results)
    ]
    return f"## Targets\n\n{table(('', 'wanted', 'measured', 'met'), rows)}"


def _yes(met: bool | None) -> str:
    return NOTHING if met is None else "yes" if met else "**no**"


def _lacks(results: Sequence[CaseResult]) -> str:
    """What each series does not do, once for each."""
    found = {
        series.name: series.lacks
        for result in results
        for group in result.groups
        for series in group.series
        if series.lacks and series.name != OURS
    }
    rows = [[name, lacks] for name, lacks in sorted(found.items())]
    return f"## What the others do not do\n\n{table(('', 'compared with ours'), rows)}"


def _environments(results: Sequence[CaseResult]) -> str:
    """Date, machine and versions; where cases differ, with the cases."""
    facts: dict[str, dict[str, list[str]]] = {}
    for result in results:
        environment = result.environment
        named = {"date": result.began[:10], **environment.machine, **environment.versions}
        for name, value in named.items():
            facts.setdefault(name, {}).setdefault(value, []).append(result.case)
    rows = [[name, _values(values)] for name, values in facts.items()]
    return f"## Machine and versions\n\n{table(('', ''), rows)}"


def _values(values: Mapping[str, Sequence[str]]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} (case {', '.join(cases)})" for value, cases in values.items())

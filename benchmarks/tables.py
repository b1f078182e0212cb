"""Groups of runs as Markdown tables."""

from collections.abc import Callable, Sequence

from benchmarks.figures import Summary, ratio, summaries
from benchmarks.results import OURS, Group
from benchmarks.sizes import MIB

NOTHING = "-"

Column = tuple[str, Callable[[Summary], str]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def group_table(group: Group) -> str:
    """A row for each series, or for each place of growth curves."""
    return _growth_table(group) if group.axis else _series_table(group)


def seconds(value: float | None) -> str:
    """With as many places as mean something."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def number(value: float | None, places: int = 2) -> str:
    """With so many places, or none for a whole number."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value == round(value) else f"{value:,.{places}f}"


def mebibytes(value: int | None) -> str:
    """Bytes in MiB, rounded."""
    return NOTHING if value is None else f"{value / MIB:.0f} MiB"


def _series_table(group: Group) -> str:
    found = summaries(group)
    columns = _columns(group, found)
    rows = [[text(summary) for _, text in columns] for summary in found]
    return table([name for name, _ in columns], rows)


def _columns(group: Group, found: Sequence[Summary]) -> list[Column]:
    ours = next((summary for summary in found if summary.series == OURS), None)
    columns: list[Column] = [
        ("", lambda summary: summary.series),
        ("seconds", lambda summary: seconds(summary.median)),
        ("least to most", _range),
    ]
    speed = speed_of(group)
    if speed is not None:
        unit, of = speed
        columns.append((unit, lambda summary: number(of(summary), 0)))
    if ours is not None and len(found) > 1:
        columns.append(
            ("ours / this", lambda item: number(None if item is ours else ratio(ours, item)))
        )
    columns.append(("CPU seconds, client + server", _processor_time))
    columns.append(("peak memory, client + server", _memory))
    columns.extend(map(_extra, sorted({name for summary in found for name in summary.extra})))
    columns.append(("runs", _runs))
    return columns


def _extra(name: str) -> Column:
    return name, lambda summary: number(summary.extra.get(name))


def speed_of(group: Group) -> tuple[str, Callable[[Summary], float | None]] | None:
    """A unit, and what a series reached in it; None where a speed would say nothing."""
    if group.files > group.clients:
        return "files/s", lambda summary: group.files / summary.median if summary.median else None
    if group.amount >= MIB:
        amount = group.amount / 1e6
        return "MB/s", lambda summary: amount / summary.median if summary.median else None
    return None


def _range(summary: Summary) -> str:
    return f"{seconds(summary.least)} to {seconds(summary.most)}" if summary.median else NOTHING


def _processor_time(summary: Summary) -> str:
    if summary.server_cpu is None:
        return seconds(summary.client_cpu)
    return f"{seconds(summary.client_cpu)} + {seconds(summary.server_cpu)}"


def _memory(summary: Summary) -> str:
    if summary.server_peak is None:
        return mebibytes(summary.client_peak)
    return f"{mebibytes(summary.client_peak)} + {mebibytes(summary.server_peak)}"


def _runs(summary: Summary) -> str:
    parts = [str(summary.counted)]
    if summary.discarded:
        parts.append(f"{summary.discarded} discarded")
    if summary.failed:
        parts.append(f"{summary.failed} failed")
    return ", ".join(parts)


def _growth_table(group: Group) -> str:
    found = {(summary.series, summary.x): summary for summary in summaries(group)}
    names = [series.name for series in group.series]
    places = sorted({x for _, x in found if x is not None})
    rows = [[number(x), *(_growth_cell(found.get((name, x))) for name in names)] for x in places]
    return table([group.axis or "", *(f"{name}, seconds" for name in names)], rows)


def _growth_cell(summary: Summary | None) -> str:
    if summary is None:
        return NOTHING
    missing = "" if summary.counted else f" ({_runs(summary)})"
    return seconds(summary.median) + missing

"""From runs to figures: medians, ranges and ratios of the runs that count."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.results import Group, Run


@dataclass(frozen=True, slots=True)
class Summary:
    """One series, or one point of a growth curve.

    Medians of the runs that count, the largest peaks among them, and how many runs counted, were
    discarded because of other processes, or failed. `median` is None when no run counted.
    """

    series: str
    x: float | None
    counted: int
    discarded: int
    failed: int
    median: float | None
    least: float | None
    most: float | None
    client_cpu: float | None
    server_cpu: float | None
    client_peak: int | None
    server_peak: int | None
    extra: dict[str, float]


def summarise(runs: Sequence[Run]) -> Summary:
    """Of the runs of one series (at one place); there must be at least one."""
    counted = [run for run in runs if run.rejected is None]
    seconds = [run.seconds for run in counted if run.seconds is not None]
    extras = sorted({name for run in counted for name in run.extra})
    return Summary(
        series=runs[0].series,
        x=runs[0].x,
        counted=len(counted),
        discarded=sum(run.rejected is not None and not run.failed for run in runs),
        failed=sum(run.failed for run in runs),
        median=_median(seconds),
        least=min(seconds, default=None),
        most=max(seconds, default=None),
        client_cpu=_median(run.client_cpu for run in counted),
        server_cpu=_median(run.server_cpu for run in counted),
        client_peak=_largest(run.client_peak for run in counted),
        server_peak=_largest(run.server_peak for run in counted),
        extra={
            name: statistics.median(run.extra[name] for run in counted if name in run.extra)
            for name in extras
        },
    )


def summaries(group: Group) -> list[Summary]:
    """One for each series and place that has runs, in the order of the series."""
    places: dict[tuple[str, float | None], list[Run]] = {}
    for run in group.runs:
        places.setdefault((run.series, run.x), []).append(run)
    order = {series.name: number for number, series in enumerate(group.series)}
    keys = sorted(places, key=lambda key: (order[key[0]], key[1] or 0))
    return [summarise(places[key]) for key in keys]


def summary_of(group: Group, series: str, x: float | None = None) -> Summary | None:
    """That of one series; None when it has no run."""
    found = (item for item in summaries(group) if (item.series, item.x) == (series, x))
    return next(found, None)


def ratio(ours: Summary | None, other: Summary | None) -> float | None:
    """Our time divided by the other's: below 1, ours is the quicker. None without both."""
    if ours is None or other is None or ours.median is None or not other.median:
        return None
    return ours.median / other.median


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)

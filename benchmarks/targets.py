"""What was aimed at, as ratios within one run, and whether it was reached."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cases.names import AGAIN, FAILED
from benchmarks.figures import Summary, ratio, summaries, summary_of
from benchmarks.results import OURS, CaseResult, Group
from benchmarks.sizes import MIB
from benchmarks.tables import number

_SERVER_BYTES = 150 * MIB
_AGAIN_MIB = 2.0
_PROTOCOL3_SPEED = 0.7


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, what was measured, and whether it was met: None when nothing was measured."""

    target: str
    wanted: str
    measured: str
    met: bool | None


def verdicts(results: Sequence[CaseResult]) -> list[Verdict]:
    """Of every target whose case has been measured."""
    groups = {(result.case, group.key): group for result in results for group in result.groups}
    found: list[Verdict] = []
    for case, key, judge in _TARGETS:
        if (case, key) in groups:
            found.extend(judge(groups[case, key]))
    return found


def _against(text: str, name: str, most: float) -> Callable[[Group], list[Verdict]]:
    def judge(group: Group) -> list[Verdict]:
        quotient = ratio(summary_of(group, OURS), summary_of(group, name))
        return [_at_most(f"{text}, against {name}: time", most, quotient)]

    return judge


def _against_best(group: Group) -> list[Verdict]:
    """Only peers that do less: those that sync, too, are slower."""
    less = {series.name for series in group.series if series.name != OURS and not series.syncs}
    peers = [item for item in summaries(group) if item.series in less and item.median is not None]
    best = min(peers, key=_median, default=None)
    name = best.series if best else "nothing that counted"
    quotient = ratio(summary_of(group, OURS), best)
    return [_at_most(f"one file of 1 GiB, against the best ({name}): time", 0.8, quotient)]


def _median(summary: Summary) -> float:
    return summary.median or 0.0


def _clients(group: Group) -> list[Verdict]:
    own = [run for run in group.runs if run.series == OURS]
    # A run is given up, and has no figures, as soon as one client of ours fails.
    failures = _largest(1.0 if run.failed else run.extra.get(FAILED) for run in own)
    ours = summary_of(group, OURS)
    peak = ours.server_peak if ours else None
    text = f"{group.clients} clients at once"
    return [
        *_against(text, "scp", 0.3)(group),
        _at_most(f"{text}: clients that failed", 0, failures),
        Verdict(
            f"{text}: memory of the server",
            f"at most {_SERVER_BYTES // MIB} MiB",
            number(None if peak is None else peak / MIB, 0),
            None if peak is None else peak <= _SERVER_BYTES,
        ),
    ]


def _again(group: Group) -> list[Verdict]:
    most = _largest(run.extra.get(AGAIN) for run in group.runs if run.series == OURS)
    return [_at_most("sent again after a kill at half, in MiB (segments)", _AGAIN_MIB, most)]


def _protocol3(group: Group) -> list[Verdict]:
    other = next(series.name for series in group.series if series.name != OURS)
    speed = ratio(summary_of(group, other), summary_of(group, OURS))
    return [
        Verdict(
            f"protocol 3, {group.title}, against {other}: speed",
            f"at least {_PROTOCOL3_SPEED}",
            number(speed),
            None if speed is None else speed >= _PROTOCOL3_SPEED,
        )
    ]


def _at_most(target: str, most: float, measured: float | None) -> Verdict:
    met = None if measured is None else measured <= most
    return Verdict(target, f"at most {number(most)}", number(measured), met)


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


_TARGETS: tuple[tuple[str, str, Callable[[Group], list[Verdict]]], ...] = (
    ("1", "put-1g", _against_best),
    ("2", "small", _against("10,000 files of 4 KiB", "rsync over ssh", 0.9)),
    ("3", "medium", _against("1,000 files of 100 KiB", "rsync over ssh", 0.8)),
    ("4", "start", _against("one file of 1 KiB", "scp", 0.6)),
    ("5", "clients", _clients),
    ("6", "resume", _again),
    ("8", "2023a-1g", _protocol3),
    ("8", "2024c-1g", _protocol3),
)

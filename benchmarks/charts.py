"""Charts of groups of runs, as SVG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.figures import Summary, summaries
from benchmarks.results import OURS, Group
from benchmarks.tables import number, seconds, speed_of

_OURS, _PEER, _SYNCING_PEER = "#1f5fa8", "#b9bec6", "#7d8794"
_LINES = (_OURS, "#c4572b", "#4c8c4a", "#8a5ea8", "#666666")
_INCHES = 8.0
_BAR_INCHES = 0.32

# Text stays text, and the same results give the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9})
mpl.rcParams["legend.frameon"] = False
_METADATA = {"Date": None, "Creator": None}


def draw(group: Group, path: Path) -> None:
    """Writes the chart of a group: curves where it has an axis, bars where it has none."""
    figure = _curves(group) if group.axis else _bars(group)
    figure.savefig(path, format="svg", metadata=_METADATA)


def _bars(group: Group) -> Figure:
    found = [summary for summary in summaries(group) if summary.median is not None]
    figure = Figure((_INCHES, 1.1 + _BAR_INCHES * len(found)), layout="constrained")
    axes = figure.subplots()
    if any(series.name == OURS for series in group.series):
        values = [(item.median or 0, item.least or 0, item.most or 0) for item in found]
        labels = [f"{seconds(item.median)} s" for item in found]
        axes.set_xlabel("seconds, median; the line is the range; less is better")
    else:
        values, labels, unit = _speeds(group, found)
        axes.set_xlabel(f"{unit}, median; the line is the range; more is better")
    syncing = {series.name for series in group.series if series.syncs}
    positions = range(len(found))
    axes.barh(
        positions,
        [value for value, _, _ in values],
        xerr=[
            [value - least for value, least, _ in values],
            [most - value for value, _, most in values],
        ],
        color=[_colour(summary.series, syncing) for summary in found],
        ecolor="#333333",
        height=0.7,
    )
    axes.set_yticks(positions, [summary.series for summary in found])
    axes.invert_yaxis()
    _label(axes, [most for _, _, most in values], labels)
    if syncing - {OURS}:
        _explain_colours(figure)
    _plain(axes, group.title)
    return figure


def _speeds(
    group: Group, found: Sequence[Summary]
) -> tuple[list[tuple[float, float, float]], list[str], str]:
    """Where nothing is ours, times of one amount say less than speeds."""
    speed = speed_of(group)
    assert speed is not None
    unit = speed[0]
    amount = group.amount / 1e6 if unit == "MB/s" else group.files
    values = [
        (amount / (item.median or 1), amount / (item.most or 1), amount / (item.least or 1))
        for item in found
    ]
    return values, [f"{number(value, 0)} {unit}" for value, _, _ in values], unit


def _colour(series: str, syncing: set[str]) -> str:
    if series == OURS:
        return _OURS
    return _SYNCING_PEER if series in syncing else _PEER


def _label(axes: Axes, ends: Sequence[float], labels: Sequence[str]) -> None:
    widest = max(ends, default=1.0)
    for position, (end, label) in enumerate(zip(ends, labels, strict=True)):
        axes.text(end + widest * 0.012, position, label, va="center")
    axes.set_xlim(0, widest * 1.18)


def _explain_colours(figure: Figure) -> None:
    shown = (
        (_OURS, "ours: synced, verified, receipted"),
        (_SYNCING_PEER, "synced"),
        (_PEER, "not synced"),
    )
    patches = [Patch(color=colour, label=label) for colour, label in shown]
    figure.legend(handles=patches, loc="outside lower center", ncols=3)


def _curves(group: Group) -> Figure:
    figure = Figure((_INCHES, 4.2), layout="constrained")
    axes = figure.subplots()
    found = [summary for summary in summaries(group) if summary.median and summary.x]
    for colour, series in zip(_LINES, group.series, strict=False):
        points = [(item.x or 0, item.median or 0) for item in found if item.series == series.name]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=series.name, markersize=4)
    places = sorted({item.x for item in found if item.x})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(group.axis or "")
    axes.set_ylabel("seconds, median; less is better")
    axes.grid(visible=True, color="#e3e6ea")
    axes.legend()
    _plain(axes, group.title)
    return figure


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title[0].upper() + title[1:], loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)

"""How times grow with the number of clients, the size of a file, and the number of files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.alternating import Conditions
from benchmarks.cases.transfers import Transfer, compare
from benchmarks.peers.tool import Tool
from benchmarks.results import Group, Run


@dataclass(frozen=True, slots=True)
class Curve:
    """`transfer` gives what is measured at each of the places `xs` of the axis."""

    key: str
    title: str
    axis: str
    xs: Sequence[int]
    transfer: Callable[[int], Transfer]


def grow(curve: Curve, tools: Sequence[Tool], conditions: Conditions) -> Group:
    """All tools in turn at each place."""
    runs: list[Run] = []
    for x in curve.xs:
        group = compare(curve.transfer(x), tools, conditions)
        runs.extend(replace(run, x=float(x)) for run in group.runs)
    return Group(
        key=curve.key,
        title=curve.title,
        series=[tool.series for tool in tools],
        axis=curve.axis,
        runs=runs,
    )

"""What was measured, and the files that keep it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_FORMAT = 1
OURS = "ours"
"""The name of the series that the others are compared with."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one series: times in seconds, memory in bytes.

    `others` is the share of the machine that other processes took during `watched` seconds, which
    may be more than the `seconds` that count.
    `x` is the place on the axis of a growth curve. `rejected` says why the run does not count; a
    run that failed has no figures. `extra` are further figures of the case, by name.
    """

    series: str
    seconds: float | None
    client_cpu: float | None = None
    server_cpu: float | None = None
    client_peak: int | None = None
    server_peak: int | None = None
    others: float | None = None
    watched: float | None = None
    x: float | None = None
    rejected: str | None = None
    failed: bool = False
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """One way of doing the same thing; `lacks` says what it does not do, compared with ours.

    `syncs`: when it has ended, the bytes are on the disk.
    """

    name: str
    lacks: str = ""
    syncs: bool = False


@dataclass(slots=True)
class Group:
    """Runs that may be compared: `amount` bytes in `files` files by `clients` clients.

    With `axis` the runs lie on growth curves, and `axis` says what `x` counts.
    """

    key: str
    title: str
    series: list[Series]
    amount: int = 0
    files: int = 0
    clients: int = 1
    axis: str | None = None
    runs: list[Run] = field(default_factory=list)


@dataclass(slots=True)
class Environment:
    """Where the figures come from; both by name, ready to be printed."""

    machine: dict[str, str]
    versions: dict[str, str]


@dataclass(slots=True)
class CaseResult:
    """All that one case gave; `began` is in ISO 8601, UTC."""

    case: str
    title: str
    began: str
    repeat: int
    quick: bool
    environment: Environment
    notes: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)


def write(result: CaseResult, path: Path) -> None:
    """Writes the result as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": _FORMAT, **asdict(result)}, indent=1) + "\n")


def read(path: Path) -> CaseResult:
    """Reads what `write` wrote; raises `ValueError` for anything else."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        if data.pop("format") != _FORMAT:
            raise ValueError("another format")
        data["environment"] = Environment(**data["environment"])
        data["groups"] = [_group(group) for group in data["groups"]]
        return CaseResult(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a benchmark's result: {error}") from error


def _group(data: dict[str, Any]) -> Group:
    series = [Series(**item) for item in data.pop("series")]
    runs = [Run(**item) for item in data.pop("runs")]
    return Group(**data, series=series, runs=runs)

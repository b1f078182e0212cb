"""Processor time and memory of process trees, and of the whole machine, from /proc (proc(5))."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_KTHREADD = 2
_RESET_PEAK = "5"

# Positions behind the command's name in /proc/PID/stat.
_PARENT = 1
_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 11, 12, 13, 14

# Columns of the first line of /proc/stat. Waiting for the disk is no work; time that the host gave
# to other machines (steal) is lost to us just as time of other processes is.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Process:
    """A process; `own` is its processor time in ticks, `reaped` that of its ended descendants."""

    pid: int
    parent: int
    own: int
    reaped: int


def parse_process(stat: str) -> Process:
    """From the text of /proc/PID/stat; the name in it may hold blanks and parentheses."""
    pid = int(stat.split(" ", 1)[0])
    fields = stat.rpartition(")")[2].split()
    return Process(
        pid=pid,
        parent=int(fields[_PARENT]),
        own=int(fields[_USER]) + int(fields[_SYSTEM]),
        reaped=int(fields[_CHILDREN_USER]) + int(fields[_CHILDREN_SYSTEM]),
    )


def processes() -> dict[int, Process]:
    """Every process that runs now, by its id."""
    found = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - ten times a second, for every process
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as stream:  # noqa: PTH123
                process = parse_process(stream.read())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        found[process.pid] = process
    return found


def tree(table: dict[int, Process], roots: Collection[int]) -> set[int]:
    """The ids of `roots` and all their descendants in the table."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in table]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def tree_seconds(table: dict[int, Process], roots: Collection[int]) -> float:
    """Processor time of the trees under `roots`, with their ended and reaped descendants."""
    pids = tree(table, roots)
    return sum(table[pid].own + table[pid].reaped for pid in pids) / _TICKS_PER_SECOND


def kernel_seconds(table: dict[int, Process]) -> float:
    """Processor time of the kernel's own threads: disk and network work for whomever."""
    own = (process.own for process in table.values() if _KTHREADD in {process.pid, process.parent})
    return sum(own) / _TICKS_PER_SECOND


def parse_busy(stat: str) -> float:
    """Seconds that all processors together have worked, from the text of /proc/stat."""
    values = dict(zip(_COLUMNS, stat.split("\n", 1)[0].split()[1:], strict=False))
    return sum(int(values[column]) for column in _BUSY) / _TICKS_PER_SECOND


def busy_seconds() -> float:
    """Seconds that all processors together have worked since the machine started."""
    return parse_busy((_PROC / "stat").read_text())


def others_share(busy: float, own: float, wall: float, processors: int) -> float:
    """The share of the machine that other processes took: 0 to 1.

    `busy` are all processors' seconds of work during `wall` seconds, `own` those of our processes.
    The machine counts by sampling and processes are counted exactly, so `own` may be the larger.
    """
    return max(0.0, busy - own) / (wall * processors)


def proportional_bytes(pids: Iterable[int]) -> int:
    """Memory of all these processes; what several of them share counts once (Pss)."""
    return sum(_field_bytes(pid, "smaps_rollup", "Pss:") for pid in pids)


def peak_bytes(pid: int) -> int:
    """The largest resident set that a process had (VmHWM); 0 when it is gone."""
    return _field_bytes(pid, "status", "VmHWM:")


def reset_peak(pid: int) -> None:
    """Lets `peak_bytes` begin anew from what the process holds now."""
    (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK)


def _field_bytes(pid: int, file: str, field: str) -> int:
    try:
        text = (_PROC / str(pid) / file).read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    for line in text.splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0

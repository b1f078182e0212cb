"""Every case: what it compares with what, in full size and in small size for a smoke test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.alternating import Conditions
from benchmarks.cases.machine_limits import limits
from benchmarks.cases.transfers import Kind, Transfer, compare
from benchmarks.errors import BenchmarkError
from benchmarks.peers.nginx import Curl
from benchmarks.peers.ours import Ours
from benchmarks.peers.rclone import RcloneSftp, RcloneWebdav
from benchmarks.peers.ssh import DEFAULT_MAX_STARTUPS, GCM, Rsync, Scp, Sftp, Tar
from benchmarks.peers.tool import Tool
from benchmarks.results import Group
from benchmarks.sizes import GIB, KIB, MIB, size_text


@dataclass(frozen=True, slots=True)
class Plan:
    """What a case has to work with: how runs are made, and ours in its one or two forms."""

    conditions: Conditions
    ours: tuple[Ours, ...]

    def scaled(self, full: int, quick: int) -> int:
        """A size or a count: the small one for a smoke test."""
        return quick if self.conditions.quick else full

    def compare(self, transfer: Transfer, *peers: Tool) -> Group:
        """Ours and these peers in turn."""
        return compare(transfer, [*self.ours, *peers], self.conditions)


@dataclass(frozen=True, slots=True)
class Case:
    """A case by its name; `space` is what it needs on the disk at most, in bytes.

    `usual` cases are measured when none is asked for.
    """

    name: str
    title: str
    measure: Callable[[Plan], list[Group]]
    space: int
    usual: bool = True


def _large_file(plan: Plan) -> list[Group]:
    return [_one_file(plan, Kind.PUT_FILE, size) for size in (GIB, 4 * GIB)]


def _one_file(plan: Plan, kind: Kind, full: int) -> Group:
    size = plan.scaled(full, full // 64)
    text = size_text(size)
    peers: list[Tool] = [
        Scp(),
        Scp(cipher=GCM),
        Sftp(),
        Rsync(),
        Rsync(cipher=GCM),
        RcloneWebdav(),
        RcloneSftp(),
        Curl(),
    ]
    if kind is Kind.PUT_FILE:
        title = f"one file of {text}"
        peers += [Sftp(synced=True), Rsync(synced=True), Curl(synced=True)]
    else:
        title = f"download of one file of {text}"
    repeat = None if full == GIB else min(3, plan.conditions.repeat)
    transfer = Transfer(f"{kind.value}-{full // GIB}g", title, kind, size, repeat=repeat)
    return plan.compare(transfer, *peers)


def _directory(plan: Plan, key: str, files: int, size: int) -> list[Group]:
    files = plan.scaled(files, files // 50)
    transfer = Transfer(
        key, f"{files:,} files of {size_text(size)}", Kind.PUT_DIRECTORY, size, files=files
    )
    peers = [
        Tar(),
        Curl(parallel=True),
        Rsync(),
        Scp(),
        RcloneWebdav(),
        RcloneSftp(),
        Rsync(synced=True),
        Curl(parallel=True, synced=True),
    ]
    return [plan.compare(transfer, *peers)]


def _start(plan: Plan) -> list[Group]:
    times = plan.scaled(10, 2)
    transfer = Transfer(
        "start", "one file of 1 KiB, process start included", Kind.PUT_FILE, KIB, times=times
    )
    return [plan.compare(transfer, Curl(), RcloneWebdav(), RcloneSftp(), Scp(), Rsync())]


def _many_clients(plan: Plan) -> list[Group]:
    clients, size = plan.scaled(50, 8), plan.scaled(10 * MIB, MIB)
    default = Scp(max_startups=DEFAULT_MAX_STARTUPS)
    transfer = Transfer(
        "clients",
        f"{clients} clients at once, a process and {size_text(size)} each",
        Kind.PUT_FILE,
        size,
        clients=clients,
        may_fail=frozenset({default.name}),
    )
    return [plan.compare(transfer, Curl(), Scp(), default, Rsync())]


CASES = {
    case.name: case
    for case in (
        Case("1", "One large file", _large_file, 10 * GIB),
        Case(
            "2",
            "Very many very small files",
            lambda plan: _directory(plan, "small", 10_000, 4 * KIB),
            8 * GIB,
        ),
        Case(
            "3",
            "Many small files",
            lambda plan: _directory(plan, "medium", 1000, 100 * KIB),
            10 * GIB,
        ),
        Case("4", "One tiny file", _start, GIB),
        Case("5", "Many clients at once", _many_clients, 4 * GIB),
        Case(
            "7",
            "Download of one large file",
            lambda plan: [_one_file(plan, Kind.GET_FILE, GIB)],
            5 * GIB,
        ),
        Case(
            "10",
            "What the machine allows",
            lambda plan: limits(plan.scaled(GIB, 16 * MIB), plan.conditions),
            3 * GIB,
        ),
    )
}


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these names, or the usual ones; raises `BenchmarkError` for an unknown name."""
    for name in names:
        if name not in CASES:
            raise BenchmarkError(f"there is no case {name!r}; there are {' '.join(CASES)}")
    return [case for case in CASES.values() if (case.name in names if names else case.usual)]


def ours(templates: Path, bare_flags: str) -> tuple[Ours, ...]:
    """Ours with everything on, and once more with the server's `bare_flags` if there are any."""
    full = Ours(templates)
    if not bare_flags:
        return (full,)
    lacks = f"as the server's {bare_flags} says"
    return (full, Ours(templates, "ours, bare", lacks, bare_flags.split()))

"""Every case: what it compares with what, in full size and in small size for a smoke test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.alternating import Conditions
from benchmarks.cases.growth import Curve, grow
from benchmarks.cases.machine_limits import limits
from benchmarks.cases.protocol3 import protocol3
from benchmarks.cases.resuming import resume
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
        RcloneSftp(),
        Rsync(synced=True),
        Curl(parallel=True, synced=True),
    ]
    return [plan.compare(transfer, *peers)]


def _start(plan: Plan) -> list[Group]:
    times = plan.scaled(20, 2)
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


def _resume(plan: Plan) -> list[Group]:
    tools = [*plan.ours, Rsync(resuming=True), Sftp()]
    return [resume(plan.scaled(GIB, 32 * MIB), tools, plan.conditions)]


def _protocol3(plan: Plan) -> list[Group]:
    return [
        protocol3(
            f"{generation}-{key}",
            generation,
            plan.scaled(size, size // 25 // MIB * MIB),
            plan.conditions,
        )
        for key, size in (("100m", 100 * MIB), ("1g", GIB))
        for generation in ("2023a", "2024c")
    ]


def _growth(plan: Plan) -> list[Group]:
    repeat = min(3, plan.conditions.repeat)
    size = plan.scaled(10 * MIB, MIB)

    def by_clients(clients: int) -> Transfer:
        title = f"{clients} clients at once, {size_text(size)} each"
        return Transfer(f"{clients}", title, Kind.PUT_FILE, size, clients=clients, repeat=repeat)

    def by_size(mebibytes: int) -> Transfer:
        title = f"one file of {size_text(mebibytes * MIB)}"
        return Transfer(f"{mebibytes}", title, Kind.PUT_FILE, mebibytes * MIB, repeat=repeat)

    def by_files(files: int) -> Transfer:
        title = f"{files:,} files of 4 KiB"
        return Transfer(f"{files}", title, Kind.PUT_DIRECTORY, 4 * KIB, files=files, repeat=repeat)

    quick = plan.conditions.quick
    clients = (1, 2, 4) if quick else (1, 2, 4, 8, 16, 32, 64)
    sizes = (1, 4, 16) if quick else (1, 16, 128, 1024, 8192)
    files = (10, 30, 100) if quick else (10, 100, 1000, 10_000, 100_000)
    sized = f"one file of {size_text(sizes[0] * MIB)} to {size_text(sizes[-1] * MIB)}"
    curves = [
        Curve(
            "by-clients",
            f"1 to {clients[-1]} clients at once, {size_text(size)} each",
            "clients",
            clients,
            by_clients,
        ),
        Curve("by-size", sized, "MiB", sizes, by_size),
        Curve("by-files", f"10 to {files[-1]:,} files of 4 KiB", "files", files, by_files),
    ]
    return [grow(curve, [*plan.ours, Rsync(), Curl()], plan.conditions) for curve in curves]


def _very_large_file(plan: Plan) -> list[Group]:
    size = plan.scaled(20 * GIB, 32 * MIB)
    text = f"one file of {size_text(size)}"
    return [
        plan.compare(Transfer(kind.value, title, kind, size, repeat=1, sparse=True))
        for kind, title in (
            (Kind.PUT_FILE, text),
            (Kind.GET_FILE, f"download of {text}"),
        )
    ]


def _very_many_files(plan: Plan) -> list[Group]:
    files = plan.scaled(100_000, 500)
    title = f"a directory of {files:,} files of 4 KiB"
    return [
        plan.compare(Transfer("many", title, Kind.PUT_DIRECTORY, 4 * KIB, files=files, repeat=1))
    ]


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
        Case("6", "Going on after a kill at half", _resume, 5 * GIB),
        Case(
            "7",
            "Download of one large file",
            lambda plan: [_one_file(plan, Kind.GET_FILE, GIB)],
            5 * GIB,
        ),
        Case("8", "Protocol 3", _protocol3, 4 * GIB),
        Case("9", "How it grows", _growth, 30 * GIB),
        Case(
            "10",
            "What the machine allows",
            lambda plan: limits(plan.scaled(GIB, 16 * MIB), plan.conditions),
            3 * GIB,
        ),
        Case("large", "A very large file", _very_large_file, 45 * GIB, usual=False),
        Case("many", "Very many files", _very_many_files, 4 * GIB, usual=False),
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

"""Results as a benchmark gives them, in small."""

from benchmarks.results import CaseResult, Environment, Group, Run, Series
from benchmarks.sizes import GIB, MIB

OURS = Series("ours", syncs=True)
SCP = Series("scp", "no sync, no receipt")
SYNCED = Series("sftp -f", "no receipt", syncs=True)


def run(series: str, seconds: float | None, **more: object) -> Run:
    """A run that counts, unless told otherwise."""
    values: dict[str, object] = {
        "client_cpu": 0.5,
        "server_cpu": 0.25,
        "client_peak": 30 * MIB,
        "server_peak": 40 * MIB,
        "others": 0.01,
        "watched": seconds,
    }
    return Run(series, seconds, **(values | more))  # type: ignore[arg-type]


def discarded(series: str, seconds: float) -> Run:
    return run(series, seconds, others=0.5, rejected="other processes took 50%")


def failed(series: str, why: str = "it broke") -> Run:
    return Run(series, None, rejected=why, failed=True)


def one_file(*runs: Run) -> Group:
    """One file of 1 GiB, by ours, scp and sftp -f."""
    title = "one file of 1 GiB"
    series = [OURS, SCP, SYNCED]
    return Group("put-1g", title, series, amount=GIB, files=1, runs=list(runs))


def growth(*runs: Run) -> Group:
    """Curves of ours and scp over the number of clients."""
    return Group("by-clients", "1 to 64 clients", [OURS, SCP], axis="clients", runs=list(runs))


def result(case: str, *groups: Group, commit: str = "abc", quick: bool = False) -> CaseResult:
    """A case as it was measured on some machine."""
    return CaseResult(
        case=case,
        title="One large file",
        began="2026-01-02T03:04:05+00:00",
        repeat=3,
        quick=quick,
        environment=Environment(
            machine={"processors": "2 (model)"},
            versions={"this project": commit, "OpenSSH": "9.2p1"},
        ),
        groups=list(groups),
    )

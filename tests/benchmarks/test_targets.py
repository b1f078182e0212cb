"""Targets: what was aimed at, and whether it was reached."""

from benchmarks.cases.names import AGAIN, FAILED
from benchmarks.results import Group, Series
from benchmarks.sizes import MIB
from benchmarks.targets import Verdict, verdicts
from tests.benchmarks.samples import OURS, SCP, SYNCED, discarded, failed, one_file, result, run


def only(case: str, group: Group) -> Verdict:
    (verdict,) = verdicts([result(case, group)])
    return verdict


def clients(*runs: object) -> list[bool | None]:
    group = Group("clients", "50 clients", [OURS, SCP], files=50, clients=50, runs=list(runs))  # type: ignore[arg-type]
    return [verdict.met for verdict in verdicts([result("5", group)])]


def test_the_best_peer_is_the_quickest_of_those_that_do_less() -> None:
    group = one_file(run("ours", 2.0), run("scp", 1.0), run("sftp -f", 9.0))
    verdict = only("1", group)
    assert "(scp)" in verdict.target
    assert (verdict.measured, verdict.met) == ("2", False)
    quicker = one_file(run("ours", 2.0), run("scp", 4.0), run("sftp -f", 1.0))
    assert only("1", quicker).met is True


def test_a_target_is_met_at_the_limit_itself() -> None:
    assert only("1", one_file(run("ours", 0.8), run("scp", 1.0))).met is True
    assert only("1", one_file(run("ours", 0.81), run("scp", 1.0))).met is False


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert only("1", one_file(discarded("ours", 1.0), run("scp", 9.0))).met is None
    assert only("1", one_file(run("ours", 1.0), failed("scp"))).met is None
    assert verdicts([result("1")]) == []


def test_many_clients_are_judged_by_time_failures_and_memory() -> None:
    peer = run("scp", 10.0, extra={FAILED: 19.0})
    good = run("ours", 3.0, extra={FAILED: 0.0}, server_peak=150 * MIB)
    assert clients(good, peer) == [True, True, True]
    heavy = run("ours", 3.1, extra={FAILED: 0.0}, server_peak=150 * MIB + 1)
    assert clients(heavy, peer) == [False, True, False]
    assert clients(good, peer, failed("ours")) == [True, False, True]


def test_sent_again_is_judged_by_the_worst_run() -> None:
    runs = [run("ours", 1.0, extra={AGAIN: again}) for again in (0.1, 0.1, 2.5)]
    group = Group("resume", "resume", [OURS, SYNCED], runs=runs)
    assert only("6", group).met is False
    group.runs = runs[:2]
    assert only("6", group).met is True


def test_protocol_3_is_judged_by_speed() -> None:
    alone = Series("AES-128-CBC alone")
    group = Group("2023a-1g", "generation 2023a", [OURS, alone])
    group.runs = [run("ours", 2.0), run(alone.name, 1.4)]
    assert (only("8", group).measured, only("8", group).met) == ("0.70", True)
    group.runs = [run("ours", 2.0), run(alone.name, 1.0)]
    assert only("8", group).met is False

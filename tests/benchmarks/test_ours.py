"""Our own server and client as the benchmarks use them; protocol 3 beside AES-CBC alone."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.alternating import Conditions
from benchmarks.cases.machine_limits import LimitAttempt
from benchmarks.cases.names import AGAIN, WHOLE
from benchmarks.cases.protocol3 import protocol3
from benchmarks.cases.resuming import resume
from benchmarks.cases.transfers import Kind, Transfer, compare
from benchmarks.errors import BenchmarkError
from benchmarks.limits import LIMITS
from benchmarks.peers.ours import Ours
from benchmarks.results import Run
from benchmarks.sizes import KIB, MIB
from benchmarks.sources import make_file


@pytest.fixture
def conditions(tmp_path: Path) -> Conditions:
    """Whatever others do meanwhile, a run counts."""
    work = tmp_path / "work"
    work.mkdir()
    return Conditions(
        work=work, repeat=1, quick=True, others=1.0, touched=MIB, progress=lambda _: None
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Ours:
    """With clients that are registered once: each takes a second."""
    return Ours(tmp_path_factory.mktemp("ours") / "templates")


def counted(runs: list[Run]) -> list[Run]:
    assert [run.rejected for run in runs] == [None] * len(runs)
    return runs


@pytest.mark.parametrize(
    "transfer",
    [
        Transfer("a", "several at once", Kind.PUT_FILE, 3 * MIB, clients=2),
        Transfer("b", "one after another", Kind.PUT_FILE, KIB, times=3),
        Transfer("c", "a directory", Kind.PUT_DIRECTORY, KIB, files=12),
        Transfer("d", "a download", Kind.GET_FILE, 3 * MIB),
    ],
    ids=lambda transfer: transfer.title,
)
def test_what_ours_moves_arrives(transfer: Transfer, conditions: Conditions, ours: Ours) -> None:
    group = compare(transfer, [ours], conditions)
    (run,) = counted(group.runs)
    assert run.seconds is not None
    assert run.client_cpu is not None
    assert run.client_cpu > 0
    assert run.server_peak is not None
    assert run.server_peak > MIB


def test_what_is_sent_again_after_a_kill_is_counted(conditions: Conditions, ours: Ours) -> None:
    group = resume(24 * MIB, [ours], conditions)
    (run,) = counted(group.runs)
    assert 0 <= run.extra[AGAIN] < 12


def test_protocol_3_is_measured_beside_its_cipher(conditions: Conditions) -> None:
    group = protocol3("2023a-100m", "2023a", 2 * MIB, conditions)
    ours, alone = counted(group.runs)
    assert (ours.series, alone.series) == ("ours", "AES-128-CBC alone")
    assert ours.seconds is not None
    assert ours.extra[WHOLE] > ours.seconds


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_gives_a_figure_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    run = LimitAttempt(name, name, 2 * MIB)(tmp_path)
    assert run.seconds is not None
    assert run.seconds > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stderr-0", "stdout-0"]


def test_a_flag_that_the_server_does_not_know_is_an_error(tmp_path: Path) -> None:
    bare = Ours(tmp_path / "templates", "ours, bare", flags=["--no-such-flag"])
    (tmp_path / "run").mkdir()
    with (
        pytest.raises(BenchmarkError, match="no-such-flag"),
        bare.serving(tmp_path / "run", bare.ports()),
    ):
        pass


def test_registered_clients_are_the_same_in_every_run(tmp_path: Path, ours: Ours) -> None:
    source = make_file(tmp_path / "source", 100)
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        with ours.serving(directory, ours.ports()) as service:
            subprocess.run(service.put_file(source, name).arguments, check=True)
            assert list(service.stored()) == [name]

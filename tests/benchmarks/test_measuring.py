"""Measuring commands: both sides are counted, and failures are not passed over."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.accounting import processes
from benchmarks.errors import RunFailed
from benchmarks.measuring import Command, measure
from benchmarks.sizes import MIB

_BURN = "import time\nwhile time.process_time() < 0.2: pass"


def python(code: str) -> Command:
    return Command((sys.executable, "-c", code))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """A process that works for 0.2 s once the file `asked` is there, and then writes `done`."""
    code = f"""
import pathlib, sys, time
here = pathlib.Path({str(tmp_path)!r})
while not (here / "asked").exists(): time.sleep(0.01)
until = time.process_time() + 0.2
while time.process_time() < until: pass
(here / "done").touch()
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        yield process.pid


def test_a_clients_children_count_as_the_client(tmp_path: Path) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BURN!r}], check=True)"
    measured = measure([[python(child)]], (), tmp_path)
    assert measured.client_cpu >= 0.2
    assert measured.server_cpu == 0


def test_every_command_of_every_batch_counts(tmp_path: Path) -> None:
    measured = measure([[python(_BURN), python(_BURN)], [python(_BURN)]], (), tmp_path)
    assert measured.client_cpu >= 0.6


def test_the_servers_work_counts_as_the_servers(tmp_path: Path, server: int) -> None:
    ask = f"""
import pathlib, time
here = pathlib.Path({str(tmp_path)!r})
(here / "asked").touch()
while not (here / "done").exists(): time.sleep(0.01)
"""
    measured = measure([[python(ask)]], [server], tmp_path)
    assert measured.server_cpu >= 0.19  # /proc counts in ticks


def test_the_peak_is_the_largest_memory_at_any_time(tmp_path: Path) -> None:
    code = f"""
import time
block = bytearray({64 * MIB})
block[::4096] = bytes([1]) * len(block[::4096])
time.sleep(1)
"""
    measured = measure([[python(code)]], (), tmp_path)
    assert measured.client_peak is not None
    assert measured.client_peak >= 64 * MIB


def test_a_command_that_fails_gives_no_figure_but_its_last_words(tmp_path: Path) -> None:
    failing = python("import sys; sys.exit('no room')")
    with pytest.raises(RunFailed, match="status 1: no room"):
        measure([[python("pass"), failing]], (), tmp_path)


def test_failures_that_are_allowed_are_counted(tmp_path: Path) -> None:
    failing = python("raise SystemExit(3)")
    measured = measure([[failing, python("pass"), failing]], (), tmp_path, may_fail=True)
    assert measured.failures == 2


def test_what_commands_print_is_handed_over_in_their_order(tmp_path: Path) -> None:
    first, second = python("print('one')"), python("import os; print(os.environ['SAID'])")
    told = Command(second.arguments, {"SAID": "two"})
    assert measure([[first], [told]], (), tmp_path).outputs == ("one\n", "two\n")


def test_a_command_that_cannot_be_started_leaves_none_behind(tmp_path: Path) -> None:
    waiting = python("import time; time.sleep(600)")
    with pytest.raises(FileNotFoundError):
        measure([[waiting, Command(("/nowhere/program",))]], (), tmp_path)
    commands = [_command(pid) for pid in processes()]
    assert not any(b"time.sleep(600)" in command for command in commands)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

"""Accounting of process trees: whose processor time and memory is whose."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.accounting import (
    Process,
    busy_seconds,
    kernel_seconds,
    others_share,
    parse_busy,
    parse_process,
    peak_bytes,
    processes,
    proportional_bytes,
    reset_peak,
    tree,
    tree_seconds,
)
from benchmarks.sizes import MIB

_TICKS = os.sysconf("SC_CLK_TCK")
_BURN = "import time\nwhile time.process_time() < 0.2: pass"
# Waits for a line, so that the test says when a step is taken.
_STEP = "print('ready', flush=True); input()"


@contextmanager
def python(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `code`, from when it has printed its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("\n")


def go_on(process: subprocess.Popen[str]) -> None:
    """Lets it go to its next `_STEP`."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"


def test_a_name_with_blanks_and_parentheses_moves_no_field() -> None:
    stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 1 0 5"
    assert parse_process(stat) == Process(pid=42, parent=7, own=33, reaped=77)


def test_a_tree_holds_descendants_of_any_depth_and_nobody_else() -> None:
    parents = {1: 0, 5: 1, 6: 5, 7: 6, 8: 1, 9: 8}
    table = {pid: Process(pid, parent, 0, 0) for pid, parent in parents.items()}
    assert tree(table, [5]) == {5, 6, 7}
    assert tree(table, [6, 8]) == {6, 7, 8, 9}
    assert tree(table, [404]) == set()


def test_a_root_below_another_root_counts_once() -> None:
    table = {5: Process(5, 1, own=_TICKS, reaped=0), 6: Process(6, 5, own=_TICKS, reaped=0)}
    assert tree_seconds(table, [5, 6]) == 2.0


def test_descendants_that_have_ended_still_count() -> None:
    table = {5: Process(5, 1, own=_TICKS, reaped=3 * _TICKS)}
    assert tree_seconds(table, [5]) == 4.0


def test_only_the_kernels_own_threads_count_as_the_kernels() -> None:
    table = {
        1: Process(1, 0, own=_TICKS, reaped=0),
        2: Process(2, 0, own=_TICKS, reaped=0),
        9: Process(9, 2, own=2 * _TICKS, reaped=0),
        10: Process(10, 1, own=5 * _TICKS, reaped=0),
    }
    assert kernel_seconds(table) == 3.0


def test_waiting_is_no_work_but_stolen_time_is() -> None:
    #                  user nice system idle iowait irq softirq steal guest guest_nice
    values = " ".join(str(n * _TICKS) for n in (1, 2, 4, 1000, 2000, 8, 16, 32, 500, 600))
    assert parse_busy(f"cpu  {values}\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == 1 + 2 + 4 + 8 + 16 + 32


def test_others_have_what_is_not_ours_of_all_processors() -> None:
    assert others_share(busy=1.5, own=1.0, wall=1.0, processors=2) == 0.25
    assert others_share(busy=0.9, own=1.0, wall=1.0, processors=2) == 0.0


def test_a_real_process_and_its_ended_and_running_children_are_counted() -> None:
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {_BURN!r}], check=True)
child = subprocess.Popen([sys.executable, "-c", {f"{_BURN}; {_STEP}"!r}],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
{_STEP}
child.communicate("\\n")
"""
    code = code.replace("pass; print", "pass\\nprint")
    with python(code) as process:
        table = processes()
        assert len(tree(table, [process.pid])) == 2
        assert tree_seconds(table, [process.pid]) >= 0.39  # two children; /proc counts in ticks


def test_the_machine_has_worked_since_it_was_started() -> None:
    assert busy_seconds() > 0


def test_memory_that_several_processes_share_counts_once() -> None:
    code = f"""
import os, signal
block = bytearray({64 * MIB})
block[::4096] = bytes([1]) * len(block[::4096])
child = os.fork()
if child == 0:
    signal.pause()
{_STEP}
os.kill(child, signal.SIGKILL)
os.wait()
"""
    with python(code) as process:
        pids = tree(processes(), [process.pid])
        assert len(pids) == 2
        assert 64 * MIB <= proportional_bytes(pids) < 100 * MIB


def test_a_peak_is_remembered_until_it_is_reset() -> None:
    code = f"{_STEP}; b = bytearray({64 * MIB}); b[::4096] = bytes([1]) * len(b[::4096])"
    with python(f"{code}; del b; {_STEP}") as process:
        assert peak_bytes(process.pid) < 64 * MIB
        go_on(process)
        assert peak_bytes(process.pid) >= 64 * MIB
        reset_peak(process.pid)
        assert peak_bytes(process.pid) < 64 * MIB


@pytest.mark.parametrize("look", [peak_bytes, lambda pid: proportional_bytes([pid])])
def test_a_process_that_is_gone_has_no_memory(look: object) -> None:
    with python(_STEP) as process:
        pass
    assert look(process.pid) == 0  # type: ignore[operator]

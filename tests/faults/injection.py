"""Faults of a running process's surroundings, each for as long as a context lasts."""

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_SECONDS = 20.0


@dataclass
class Injected:
    """How often a fault struck; known when its context has ended."""

    times: int = 0


@contextmanager
def failing_calls(pid: int, calls: str, error: str, *, every: int) -> Iterator[Injected]:
    """System calls of these names fail with this error: the first of each thread, and then every
    so many. It is strace's injection: the kernel does not carry them out at all."""
    injected = Injected()
    reading, writing = os.pipe()
    try:
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-p", str(pid), "-e", f"trace={calls}", "-e", "signal=none",
             "-e", f"inject={calls}:error={error}:when=1+{every}", "-o", f"/dev/fd/{writing}"],
            pass_fds=(writing,), stderr=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        os.close(writing)
    try:
        _wait_for_tracer(pid)
        with os.fdopen(reading) as lines:
            try:
                yield injected
            finally:
                tracer.send_signal(signal.SIGINT)
                injected.times = lines.read().count("(INJECTED)")
    finally:
        tracer.kill()
        tracer.wait()


def _wait_for_tracer(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(
        re.search(r"^TracerPid:\t0$", status.read_text(), re.MULTILINE)
        for status in Path(f"/proc/{pid}/task").glob("*/status")
    ):
        assert time.monotonic() < deadline, "strace does not attach"
        time.sleep(0.01)


@contextmanager
def few_descriptors(pid: int, more: int) -> Iterator[Injected]:
    """The process may open only so many files more than it has open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1  # noqa: PTH208 - counts
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + more, before[1]))
    try:
        yield Injected(1)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def mounted(directory: Path, size: int) -> Iterator[None]:
    """A file system of its own in memory there, of so many bytes."""
    require_root()
    directory.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(directory))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def filled(directory: Path) -> Iterator[Injected]:
    """The file system of this directory is full to the last byte."""
    filler = directory / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                while _written(file.fileno(), size):
                    pass
        yield Injected(1)
    finally:
        filler.unlink()


def _written(descriptor: int, size: int) -> int:
    try:
        return os.write(descriptor, bytes(size))
    except OSError:
        return 0


@contextmanager
def read_only(*directories: Path) -> Iterator[Injected]:
    """Nothing in these directories can be changed, by whatever user."""
    require_root()
    done: list[Path] = []
    try:
        for directory in directories:
            _mount("--bind", str(directory), str(directory))
            done.append(directory)
            _until_mounted("-o", "remount,bind,ro", str(directory))
        yield Injected(1)
    finally:
        for directory in done:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)


def require_root() -> None:
    """Some faults need root's rights: .ci/run has them."""
    if os.geteuid():
        raise RuntimeError("this fault needs root's rights, to mount: run the tests as root")


def _until_mounted(*arguments: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            _mount(*arguments)
        except RuntimeError:  # busy as long as somebody writes a file there
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mount {arguments}: {done.stderr}")

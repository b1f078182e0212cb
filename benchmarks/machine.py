"""The machine and the versions that figures belong to; and how its memory is made ready."""

import os
import platform
import ssl
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.programs import versions
from benchmarks.results import Environment
from benchmarks.sizes import GIB

_PACKAGES = ("pycryptodome", "cryptography")
_OURS = "encrypted-file-transfer"


def touch_memory(size: int) -> None:
    """First writes into a virtual machine's memory are slow; this makes the host hand it out.

    In a process of its own, so that this one stays small.
    """
    touch = f"m = bytearray({size}); m[::4096] = bytes([1]) * len(m[::4096])"
    subprocess.run([sys.executable, "-c", touch], check=True)


def memory_bytes() -> int:
    """What this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def environment(work: Path) -> Environment:
    """Of this machine; `work` lies on the disk that is measured."""
    return Environment(
        machine={
            "processors": f"{os.cpu_count()} ({_processor()})",
            "memory": f"{memory_bytes() / GIB:.0f} GiB",
            "file system": file_system(work),
            "kernel": f"{platform.system()} {platform.release()}",
            "system": _system(),
        },
        versions={
            "this project": f"{version(_OURS)} ({_commit()})",
            "Python": platform.python_version(),
            "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
            **{package: version(package) for package in _PACKAGES},
            **versions(),
        },
    )


def file_system(path: Path) -> str:
    """The kind of file system that holds `path`, as in /proc/mounts."""
    path = path.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, found, *_ = line.split(" ")
        if path.is_relative_to(mounted) and len(mounted) >= len(best):
            best, kind = mounted, found
    return kind


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"


def _commit() -> str:
    """The commit that is checked out, with a plus when files differ from it."""
    here = Path(__file__).parent
    head = _git(here, "rev-parse", "--short", "HEAD")
    if head is None:
        return "no commit"
    return f"{head}+" if _git(here, "status", "--porcelain", "--untracked-files=no") else head


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", directory, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None

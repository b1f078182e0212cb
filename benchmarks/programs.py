"""The peers' programs: finding them, installing what is missing, and their versions."""

import os
import re
import shutil
import subprocess
from functools import cache

from benchmarks.errors import BenchmarkError

# What Debian calls the packages of the programs that are not on every system.
PACKAGES = {
    "ssh": "openssh-client",
    "scp": "openssh-client",
    "sftp": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "rsync": "rsync",
    "rclone": "rclone",
    "nginx": "nginx-light",
    "curl": "curl",
}
# Administrators' programs are not on everybody's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

_VERSIONS = {
    "OpenSSH": ("ssh", "-V"),
    "rsync": ("rsync", "--version"),
    "rclone": ("rclone", "version"),
    "nginx": ("nginx", "-v"),
    "curl": ("curl", "--version"),
    "tar": ("tar", "--version"),
}
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.-]*")


@cache
def find(program: str) -> str:
    """The program's absolute path; raises `BenchmarkError` when it is not there."""
    path = shutil.which(program, path=_PATH)
    if path is None:
        package = PACKAGES.get(program, program)
        raise BenchmarkError(f"{program} is not there: apt-get install {package}")
    return path


def missing() -> list[str]:
    """The Debian packages that have to be installed."""
    absent = {
        package for name, package in PACKAGES.items() if shutil.which(name, path=_PATH) is None
    }
    return sorted(absent)


def install() -> None:
    """Installs what is missing, as root on Debian; else raises `BenchmarkError` that says what."""
    packages = missing()
    if not packages:
        return
    line = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchmarkError(f"programs to compare with are missing; on Debian, as root: {line}")
    # RUNLEVEL keeps sshd and nginx from being started as services of this machine.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    print(f"installing {' '.join(packages)}", flush=True)
    for arguments in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            arguments,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            last = " / ".join(done.stdout.strip().splitlines()[-3:])
            raise BenchmarkError(f"`{line}` failed: {last}")
    if missing():
        raise BenchmarkError(f"still missing after installing: {' '.join(missing())}")


def parse_version(text: str) -> str:
    """The first thing in a program's answer that looks like a version; `unknown` without one."""
    match = _VERSION.search(text)
    return match[0].rstrip(".-") if match else "unknown"


def versions() -> dict[str, str]:
    """Of each peer's program."""
    found = {}
    for name, (program, option) in _VERSIONS.items():
        answer = subprocess.run(
            [find(program), option],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found[name] = parse_version(answer.stdout)
    return found

"""A network of its own for a server process, in which packets can be dropped (Linux, root)."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.injection import Injected, require_root

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
APART = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Runs the command that follows in a network namespace of its own, with loopback."""


def enter(pid: int | str) -> None:
    """Moves the calling thread into the network namespace of a process."""
    require_root()
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net") as namespace:  # noqa: PTH123 - setns takes a descriptor
        if libc.setns(namespace.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """The calling thread is in the network namespace of a process."""
    with open("/proc/thread-self/ns/net") as own:  # noqa: PTH123 - setns takes a descriptor
        enter(pid)
        try:
            yield
        finally:
            if ctypes.CDLL(None).setns(own.fileno(), _NEW_NETWORK):
                raise RuntimeError("cannot go back to the network of this process")


@contextmanager
def losing_packets(pid: int, port: int, percent: int) -> Iterator[Injected]:
    """So many of a hundred packets from and to a port are dropped, in a process's network."""
    rules = f"""
        table inet loss {{
            chain input {{
                type filter hook input priority 0;
                tcp dport {port} numgen random mod 100 < {percent} counter drop
                tcp sport {port} numgen random mod 100 < {percent} counter drop
            }}
        }}
    """
    injected = Injected()
    _nft(pid, "-f", "-", rules=rules)
    try:
        yield injected
    finally:
        listed = _nft(pid, "list", "table", "inet", "loss")
        words = listed.split()
        injected.times = sum(
            int(words[at + 1]) for at, word in enumerate(words) if word == "packets"
        )
        _nft(pid, "delete", "table", "inet", "loss")


def _nft(pid: int, *arguments: str, rules: str = "") -> str:
    done = subprocess.run(
        ["nsenter", "--net", "--target", str(pid), "nft", *arguments],
        input=rules, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"nft {arguments}: {done.stderr}")
    return done.stdout

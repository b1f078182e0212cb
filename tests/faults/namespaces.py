"""Networks of their own for processes and threads, which can drop packets (Linux, root)."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.injection import Injected, require_root

_libc = ctypes.CDLL(None, use_errno=True)
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
APART = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Runs the command that follows in a network namespace of its own, with loopback."""


def network_of(pid: int) -> str:
    """The network namespace of a process, as a file."""
    return f"/proc/{pid}/ns/net"


def own_network() -> int:
    """The network namespace of the calling thread, as a new descriptor."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def unshare_network() -> None:
    """Moves the calling thread into a new network namespace, where there is nothing yet."""
    require_root()
    _succeed(_libc.unshare(_NEW_NETWORK))


def enter(network: str) -> None:
    """Moves the calling thread into a network namespace."""
    require_root()
    with open(network) as namespace:  # noqa: PTH123 - setns takes a descriptor
        _succeed(_libc.setns(namespace.fileno(), _NEW_NETWORK))


@contextmanager
def inside(network: str) -> Iterator[None]:
    """The calling thread is in a network namespace. A socket stays where it was made."""
    own = own_network()
    try:
        enter(network)
        try:
            yield
        finally:
            _succeed(_libc.setns(own, _NEW_NETWORK))
    finally:
        os.close(own)


def _succeed(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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

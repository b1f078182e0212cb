"""A path between two networks whose packets come late, in another order, twice, damaged or not at
all: what netem does, for a kernel without it (Linux, root).

`python -m tests.faults.packets SEED` makes two network namespaces with a TUN device in each, and
forwards IP packets between them. It is a process of its own, so that it does not wait for the
threads of the tests. It writes a line of JSON with the descriptors of the two namespaces, and then,
for each line with `Impairments` that it reads, one with the `Counts` until then. It ends with its
standard input; namespaces and devices, which nothing else holds, go with their last process.
"""

import fcntl
import json
import os
import select
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.impairments import CLEAN, Counts, Direction, Impairments
from tests.faults.injection import Injected, require_root
from tests.faults.namespaces import own_network, unshare_network
from tests.server.hostile_process import ROOT

SERVER_ADDRESS = "127.0.0.1"
CLIENT_ADDRESS = "127.0.0.2"

_TUN = Path("/dev/net/tun")
_DEVICE = "path"
_SET_INTERFACE = 0x400454CA  # TUNSETIFF
_PLAIN_PACKETS = 0x0001 | 0x1000  # IFF_TUN | IFF_NO_PI
_MOST_BYTES = 1 << 16
_AT_ONCE = 64
_END_SECONDS = 20.0


def find_tun() -> None:
    """Makes the device node where there is none; raises `OSError` where the kernel has no TUN."""
    require_root()
    if not _TUN.exists():
        _TUN.parent.mkdir(exist_ok=True)
        os.mknod(_TUN, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    os.close(os.open(_TUN, os.O_RDWR))


class EmulatedPath:
    """The test's end of a running emulator."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        descriptors = self._read()
        self.server_network = f"/proc/{process.pid}/fd/{descriptors['server']}"
        """The namespace where `SERVER_ADDRESS` is the only address, as a file."""
        self.client_network = f"/proc/{process.pid}/fd/{descriptors['client']}"
        """The namespace where `CLIENT_ADDRESS` is the only address, as a file."""

    @property
    def through(self) -> tuple[str, ...]:
        """Runs the command that follows it in the server's namespace."""
        return "nsenter", f"--net={self.server_network}"

    def become(self, impairments: Impairments) -> Counts:
        """From now on packets are treated like this; what became of all packets, both ways, so
        far."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(impairments)) + "\n")
        self._process.stdin.flush()
        return Counts(**self._read())

    @contextmanager
    def impaired(self, impairments: Impairments, *effects: str) -> Iterator[Injected]:
        """The path is bad for as long as the context lasts, then clean. It struck as often as the
        rarest of these effects, each the name of one of the `Counts`."""
        injected = Injected()
        before = self.become(impairments)
        try:
            yield injected
        finally:
            counts = self.become(CLEAN) - before
            injected.times = min(getattr(counts, effect) for effect in effects)

    def _read(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the emulator of packets has ended; its last words are on stderr")
        read: dict[str, int] = json.loads(line)
        return read


@contextmanager
def emulated_path(seed: int) -> Iterator[EmulatedPath]:
    """A clean path between two new networks, which lasts as long as the context."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.packets", str(seed)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield EmulatedPath(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(_END_SECONDS) == 0
        finally:
            process.kill()


# The process


@dataclass(frozen=True)
class _End:
    """A network with a TUN device, each as a descriptor."""

    network: int
    device: int


def _new_end(own: str, other: str) -> _End:
    """Moves into a new network that knows two addresses: its own, and the other one over the
    device. There is no loopback device in the way, so that addresses of its range, which are all
    that servers, clients and tests use, lead over the device too."""
    unshare_network()
    device = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH22x", _DEVICE.encode(), _PLAIN_PACKETS))
    settings = Path("/proc/sys/net")
    (settings / f"ipv4/conf/{_DEVICE}/route_localnet").write_text("1")
    if (ipv6 := settings / f"ipv6/conf/{_DEVICE}/disable_ipv6").exists():
        ipv6.write_text("1")
    # A long queue, so that the kernel itself loses nothing.
    batch = (
        f"address add {own} peer {other} dev {_DEVICE}\nlink set {_DEVICE} up txqueuelen 100000\n"
    )
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    return _End(own_network(), device)


class _Emulator:
    """Forwards between two ends."""

    def __init__(self, server: _End, client: _End, seed: int) -> None:
        self._ways = {
            client.device: (Direction(2 * seed), server.device),
            server.device: (Direction(2 * seed + 1), client.device),
        }
        self._orders = sys.stdin.fileno()

    def run(self) -> None:
        """Until standard input ends."""
        while True:
            ready = select.select([*self._ways, self._orders], [], [], self._wait())[0]
            if self._orders in ready and not self._obey():
                return
            for device, (direction, other) in self._ways.items():
                if device in ready:
                    _take_all(device, direction)
                for packet in direction.due(time.monotonic()):
                    os.write(other, packet)

    def _wait(self) -> float | None:
        now = time.monotonic()
        waits = [direction.wait(now) for direction, _ in self._ways.values()]
        return min((wait for wait in waits if wait is not None), default=None)

    def _obey(self) -> bool:
        """Whether there was a line, which must have come whole."""
        line = os.read(self._orders, _MOST_BYTES)
        if line:
            total = Counts()
            for direction, _ in self._ways.values():
                direction.impairments = Impairments(**json.loads(line))
                total += direction.counts
            print(json.dumps(asdict(total)), flush=True)  # noqa: T201 - to the test
        return bool(line)


def _take_all(device: int, direction: Direction) -> None:
    for _ in range(_AT_ONCE):
        try:
            packet = os.read(device, _MOST_BYTES)
        except BlockingIOError:
            return
        direction.take(packet, time.monotonic())


def main() -> None:
    """The emulator."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a test that is interrupted ends it in its turn
    server = _new_end(SERVER_ADDRESS, CLIENT_ADDRESS)
    client = _new_end(CLIENT_ADDRESS, SERVER_ADDRESS)
    print(  # noqa: T201 - to the test
        json.dumps({"server": server.network, "client": client.network}), flush=True
    )
    _Emulator(server, client, int(sys.argv[1])).run()


if __name__ == "__main__":
    main()

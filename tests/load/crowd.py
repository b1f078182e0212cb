"""Very many connections on which a client has proved who it is; a process of its own:

    python -m tests.load.crowd --port N --client-id HEX --idle N --active N --seconds N

Opens them, says `ready` on standard output, and when a line comes on standard input lets the active
ones transfer for so long; then tells, as JSON, what became of them.
"""

import argparse
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.load import identities
from tests.peer4.client import Peer4, StreamCut

_OPENING_AT_ONCE = 16
_FILE_BYTES = 4096
_PER_SOURCE = 200


def _sources() -> Iterator[str]:
    """Addresses, each for fewer connections than a server admits from one."""
    for net, host in itertools.product(range(1, 255), range(1, 255)):
        yield from itertools.repeat(f"127.{100 + net // 128}.{net}.{host}", _PER_SOURCE)


class Crowd:
    """The connections of one process, all of one client."""

    def __init__(self, port: int, client_id: bytes, count: int) -> None:
        self._port = port
        self._client_id = client_id
        with ThreadPoolExecutor(_OPENING_AT_ONCE) as pool:
            opened = pool.map(self._open, itertools.islice(_sources(), count))
            found = list(opened)
        self.peers = [peer for peer in found if peer is not None]
        self.refused = count - len(self.peers)
        self.transfers = 0
        self.failures = 0
        self._lock = threading.Lock()

    def _open(self, source: str) -> Peer4 | None:
        """None where the server has hung up, which is how it refuses one too many."""
        peer = identities.peer(
            self._port, "crowd", client_id=self._client_id, source=source, timeout=120.0
        )
        try:
            return peer.open().connect()
        except TimeoutError:
            raise
        except (OSError, StreamCut):
            peer.cut()
            return None

    def transfer(self, active: int, seconds: float) -> None:
        """Lets some of them send small files, one after the other, for so long."""
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._send, args=(number, peer, until))
            for number, peer in enumerate(self.peers[:active])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, number: int, peer: Peer4, until: float) -> None:
        done = 0
        try:
            while time.monotonic() < until:
                content = os.urandom(_FILE_BYTES)
                receipt = peer.put(f"active-{number}", content)
                assert receipt.size == _FILE_BYTES
                done += 1
        except (OSError, StreamCut, AssertionError):
            with self._lock:
                self.failures += 1
        with self._lock:
            self.transfers += done

    def alive(self) -> int:
        """How many still answer."""
        with ThreadPoolExecutor(_OPENING_AT_ONCE) as pool:
            return sum(pool.map(_answers, self.peers))

    def close(self) -> None:
        """Ends all of them."""
        for peer in self.peers:
            peer.cut()


def _answers(peer: Peer4) -> bool:
    try:
        peer.names("nothing")
    except (OSError, StreamCut):
        return False
    return True


def main() -> None:
    """Opens, waits, transfers, tells."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.crowd")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--client-id", type=bytes.fromhex, required=True)
    parser.add_argument("--idle", type=int, required=True)
    parser.add_argument("--active", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    began = time.monotonic()
    crowd = Crowd(given.port, given.client_id, given.idle + given.active)
    opening = time.monotonic() - began
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    crowd.transfer(given.active, given.seconds)
    told = {
        "opened": len(crowd.peers), "refused": crowd.refused, "opening_seconds": opening,
        "transfers": crowd.transfers, "failures": crowd.failures, "alive": crowd.alive(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    crowd.close()


if __name__ == "__main__":
    main()

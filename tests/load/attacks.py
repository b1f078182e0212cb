"""Attacks on a server, each of which is run in a process of its own:

    python -m tests.load.attacks KIND --port N --client-id HEX --seconds N --connections N

Tells on standard output, as JSON, what it did.
"""

import argparse
import contextlib
import json
import os
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from protocol.channel import DATA_PREFACE
from tests.load import identities
from tests.load.holding import Holding
from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut, tls_context

_SOURCES = tuple(f"127.{net}.0.{host}" for net in range(1, 9) for host in range(1, 9))
_WORKERS = 12
_LISTED = 1000
_HUGE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to attack, as whom, for how long and with how many connections."""

    port: int
    client_id: bytes
    seconds: float
    connections: int

    def peer(self, number: int) -> Peer4:
        """The attacker's own client, from one of its addresses."""
        return identities.peer(
            self.port, "attacker", client_id=self.client_id,
            source=_SOURCES[number % len(_SOURCES)], timeout=5.0,
        )  # fmt: skip


Counts = dict[str, int]


def client_hello() -> bytes:
    """The first bytes of a real TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def _header3(code: int, size: int) -> bytes:
    return bytes(16) + struct.pack("<BHI", 3, code, size)


def _held(target: Target, **given: object) -> Counts:
    holding = Holding(target.port, _SOURCES, target.connections, **given)  # type: ignore[arg-type] # its keywords
    return asdict(holding.run(target.seconds))


def _idle(target: Target) -> Counts:
    return _held(target)


def _slow_handshake(target: Target) -> Counts:
    hello = client_hello()
    return _held(target, opening=hello[:1], drip=hello[1:], interval=0.5)


def _half_handshake(target: Target) -> Counts:
    return _held(target, opening=client_hello())


def _slow_request3(target: Target) -> Counts:
    return _held(target, opening=b"\0", drip=_header3(1100, 255)[1:], interval=0.5)


def _announcements3(target: Target) -> Counts:
    sizes = struct.pack("<I", _HUGE - 259)
    opening = _header3(1103, _HUGE) + sizes + b"giant".ljust(255, b"\0")
    return _held(target, opening=opening, drip=bytes(16), interval=0.5)


def _wrong_tickets(target: Target) -> Counts:
    return _held(target, opening=DATA_PREFACE + os.urandom(32))


def _resets(target: Target) -> Counts:
    return _held(target, resets=True)


def _workers(target: Target, work: Callable[[Peer4, Counts, float], None]) -> Counts:
    """Connections that the attacker works through, several at a time, until the time is over."""
    until = time.monotonic() + target.seconds
    counts: Counts = {"opened": 0, "asked": 0}

    def loop(number: int) -> None:
        while time.monotonic() < until:
            peer = target.peer(number)
            number += _WORKERS
            try:
                peer.open()
                counts["opened"] += 1
                work(peer, counts, until)
            except (OSError, StreamCut, wire.RefusedError, AssertionError, ValueError):
                time.sleep(0.01)  # the server has refused it, as it should
            finally:
                peer.cut()

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(_WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def _handshakes(_peer: Peer4, counts: Counts, _until: float) -> None:
    counts["asked"] += 1  # the handshake is all


def _challenges(peer: Peer4, counts: Counts, until: float) -> None:
    while time.monotonic() < until:
        peer.client_id = os.urandom(16)
        peer.challenge()
        counts["asked"] += 1


def _wrong_proofs(peer: Peer4, counts: Counts, _until: float) -> None:
    peer.challenge()
    counts["asked"] += 1
    peer.prove(bytes(32))


def _unread(peer: Peer4, counts: Counts, until: float, request: tuple[int, bytes]) -> None:
    """Asks and asks and reads nothing."""
    peer.connect()
    peer.tls.settimeout(max(0.1, min(2.0, until - time.monotonic())))
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < until:
            peer.send(*request)
            counts["asked"] += 1
    time.sleep(max(0.0, until - time.monotonic()))


def _unread_lists(peer: Peer4, counts: Counts, until: float) -> None:
    payload = wire.text("") + wire.text("") + struct.pack("<H", _LISTED)
    _unread(peer, counts, until, (wire.LIST, payload))


def _unread_gets(peer: Peer4, counts: Counts, until: float) -> None:
    payload = os.urandom(32) + bytes(8) + wire.text("large")
    _unread(peer, counts, until, (wire.GET, payload))


def _announcements4(peer: Peer4, counts: Counts, until: float) -> None:
    """Begins uploads of unknown size and announces segments of which nothing comes."""
    peer.connect()
    upload_id = os.urandom(16)
    peer.begin(upload_id, os.urandom(32), f"giant-{upload_id.hex()}", None)
    peer.transmit(struct.pack("<BHII", 4, wire.SEGMENT_CODE, 9, wire.MAX_PAYLOAD) + upload_id)
    counts["asked"] += 1
    while time.monotonic() < until:
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))
        peer.transmit(b"\0")


KINDS: Mapping[str, tuple[str, Callable[[Target], Counts]]] = {
    "idle": ("connections on which nothing comes", _idle),
    "slow-handshake": ("TLS handshakes, a byte every half second", _slow_handshake),
    "half-handshake": ("TLS handshakes that stop behind the first message", _half_handshake),
    "slow-request3": ("protocol-3 requests, a byte every half second", _slow_request3),
    "announcements3": ("protocol 3: files of 4 GiB announced, a byte sent", _announcements3),
    "wrong-tickets": ("data connections with tickets that nobody gave out", _wrong_tickets),
    "resets": ("connections that are reset at once", _resets),
    "handshakes": ("whole TLS handshakes and nothing else", lambda t: _workers(t, _handshakes)),
    "challenges": ("challenges for unknown clients", lambda t: _workers(t, _challenges)),
    "wrong-proofs": (
        "challenges answered with a wrong proof",
        lambda t: _workers(t, _wrong_proofs),
    ),
    "announcements4": (
        "uploads of unknown size, segments of 1 MiB announced, a byte sent each second",
        lambda t: _workers(t, _announcements4),
    ),
    "unread-lists": (
        "lists of 1,000 files asked for without end, no answer read",
        lambda t: _workers(t, _unread_lists),
    ),
    "unread-gets": (
        "a large file asked for without end, no answer read",
        lambda t: _workers(t, _unread_gets),
    ),
}
"""What each kind is, in words, and how it is done."""


def main() -> None:
    """Runs one attack."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.attacks")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--client-id", type=bytes.fromhex, required=True)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=500)
    given = parser.parse_args()
    target = Target(given.port, given.client_id, given.seconds, given.connections)
    json.dump(KINDS[given.kind][1](target), sys.stdout)


if __name__ == "__main__":
    main()

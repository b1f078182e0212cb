"""What a bad path does to the packets of one direction, decided by chance that can be repeated."""

import heapq
import random
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import count


@dataclass(frozen=True, slots=True)
class Impairments:
    """How a path treats packets; those without any make a clean one. Each packet waits for
    `delay_seconds` and up to `jitter_seconds` more, so that one may overtake another (RFC 4737);
    the others are probabilities from 0 to 1."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0


CLEAN = Impairments()


@dataclass(slots=True)
class Counts:
    """Packets by what became of them, each of which may be in several of these numbers."""

    taken: int = 0
    """All that came in."""
    delayed: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    """Handed over behind one that had come in later; of a duplicated one the first copy counts."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(order=True, slots=True)
class _Waiting:
    due: float
    order: int
    number: int
    is_twin: bool
    packet: bytes


class Direction:
    """Packets on their way from one end to the other. With one seed the so-many-eth packet always
    meets the same fate under the same impairments."""

    def __init__(self, seed: int) -> None:
        self.impairments = CLEAN
        self.counts = Counts()
        self._chance = random.Random(seed)
        self._waiting: list[_Waiting] = []
        self._orders = count()
        self._half_delivered: set[int] = set()
        self._latest = 0

    def take(self, packet: bytes, now: float) -> None:
        """Takes an IP packet in at this moment, in seconds of any clock."""
        counts, how = self.counts, self.impairments
        counts.taken += 1
        # As many draws for each packet, so that the next one's fate does not hang on this one's.
        loss, duplication, corruption, delay, second_delay, position = (
            self._chance.random() for _ in range(6)
        )
        if loss < how.loss:
            counts.lost += 1
            return
        if corruption < how.corruption:
            counts.corrupted += 1
            packet = _corrupted(packet, position)
        is_twin = duplication < how.duplication
        counts.duplicated += is_twin
        counts.delayed += how.delay_seconds > 0 or how.jitter_seconds > 0
        for share in (delay, second_delay) if is_twin else (delay,):
            due = now + how.delay_seconds + share * how.jitter_seconds
            waiting = _Waiting(due, next(self._orders), counts.taken, is_twin, packet)
            heapq.heappush(self._waiting, waiting)

    def due(self, now: float) -> Iterator[bytes]:
        """Hands over the packets that have waited long enough at this moment."""
        while self._waiting and self._waiting[0].due <= now:
            first = heapq.heappop(self._waiting)
            self._note_order(first)
            yield first.packet

    def wait(self, now: float) -> float | None:
        """Seconds until a packet is due, None if there is no packet."""
        return max(self._waiting[0].due - now, 0.0) if self._waiting else None

    def _note_order(self, delivered: _Waiting) -> None:
        if delivered.is_twin:
            if delivered.number in self._half_delivered:
                self._half_delivered.remove(delivered.number)
                return
            self._half_delivered.add(delivered.number)
        if delivered.number < self._latest:
            self.counts.reordered += 1
        else:
            self._latest = delivered.number


def _corrupted(packet: bytes, position: float) -> bytes:
    """One bit is wrong, which every checksum of IP, TCP and UDP finds; not in the first byte, from
    which TUN tells the version of IP."""
    bit = 8 + int(position * 8 * (len(packet) - 1))
    changed = bytearray(packet)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)

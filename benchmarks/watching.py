"""Peak memory of the process trees of both sides, looked at while they run."""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.accounting import peak_bytes, processes, proportional_bytes, tree

_FIRST_SECONDS = 0.005
_PROCESS_SECONDS = 0.02
_TREE_SECONDS = 0.1
# Looking may take one part in so many of one processor, for trees and for processes alike.
_PART = 50


@dataclass
class Peaks:
    """The largest memory that was seen, in bytes; 0 when nothing was."""

    client: int = 0
    server: int = 0


@contextmanager
def watching(clients: Collection[int], servers: Collection[int]) -> Iterator[Peaks]:
    """Looks at the trees under these processes until the context ends.

    `clients` may grow meanwhile. Whole trees are summed ten times a second; the clients' own peaks,
    which the kernel keeps, are read more often, for the sake of short runs.
    """
    peaks, stop = Peaks(), threading.Event()
    thread = threading.Thread(target=_watch, args=(peaks, stop, clients, servers), daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _watch(
    peaks: Peaks, stop: threading.Event, clients: Collection[int], servers: Collection[int]
) -> None:
    pause, due = _FIRST_SECONDS, 0.0
    while not stop.wait(pause):
        began = time.thread_time()
        peaks.client = max([peaks.client, *map(peak_bytes, list(clients))])
        cost = time.thread_time() - began
        pause = max(min(2 * pause, _PROCESS_SECONDS), cost * _PART)
        if time.monotonic() >= due:
            began = time.thread_time()
            table = processes()
            peaks.client = max(peaks.client, proportional_bytes(tree(table, list(clients))))
            pids = tree(table, servers)
            peaks.server = max([peaks.server, proportional_bytes(pids), *map(peak_bytes, pids)])
            cost = time.thread_time() - began
            due = time.monotonic() + max(_TREE_SECONDS, cost * _PART)

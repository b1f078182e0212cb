"""Memory for opened segments, and threads that sum them up: shared by all connections."""

import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

from protocol.contexts import SEGMENT_BYTES

_BUFFERS = 16
# A shorter piece is summed up before another thread has woken.
_WORTH_A_THREAD_BYTES = 256 * 1024


class SegmentMemory:
    """A fixed number of buffers of one segment each, so that memory does not grow with connections.

    Who comes when all are in use waits for the disk, as it would with a buffer of its own.
    """

    def __init__(self) -> None:
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(None)  # memory is taken when it is first needed
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "digest")

    @contextmanager
    def buffer(self) -> Iterator[memoryview]:
        """A buffer of `SEGMENT_BYTES`, aligned to a page as O_DIRECT wants it."""
        buffer = self._free.get()
        try:
            if buffer is None:
                buffer = memoryview(mmap.mmap(-1, SEGMENT_BYTES))
            yield buffer
        finally:
            self._free.put(buffer)

    @contextmanager
    def meanwhile(self, work: Callable[[memoryview], object], data: memoryview) -> Iterator[None]:
        """Does the work while the context runs, and ends when both have; `work` must not fail."""
        if len(data) < _WORTH_A_THREAD_BYTES:
            work(data)
            yield
            return
        done = self._threads.submit(work, data)
        try:
            yield
        finally:
            done.result()

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()

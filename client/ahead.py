"""Letting one thread produce while another consumes, over a fixed number of buffers."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterates over `source` in a thread of its own, at most `depth` items in flight.

    An item is in flight from the moment its production begins until the next one is asked for, so
    a source that reuses the memory of every `depth`-th item never touches one that is in use.
    What `source` raises is raised by the iteration. Always `close`: it ends the thread.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._source = source
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(depth):
            self._free.put(None)
        self._produced: SimpleQueue[T | _End] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._produce, name="reading ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._produced.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            self._free.put(None)

    def close(self) -> None:
        """Waits for the item being produced and ends the thread; may be called at any time."""
        self._closed = True
        self._free.put(None)
        self._thread.join()

    def _produce(self) -> None:
        error: BaseException | None = None
        try:
            while True:
                self._free.get()
                if self._closed:
                    break
                try:
                    item = next(self._source)
                except StopIteration:
                    break
                self._produced.put(item)
        except BaseException as caught:  # noqa: BLE001 - the consumer raises it, in its own thread
            error = caught
        self._produced.put(_End(error))


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error

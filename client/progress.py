"""A bar with rate and time left, for people who watch a terminal."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

_COLUMNS = 80

Advance = Callable[[int], object]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a name and a size in bytes; the context's value is told of every step's bytes."""


def progress_on(stream: TextIO | None, *, quiet: bool) -> Progress:
    """A bar on `stream` when that is a terminal and `quiet` is not asked for, otherwise none."""
    if quiet or stream is None or not stream.isatty():
        return _nothing
    # Some pseudo-terminals say that they have 0 columns, into which tqdm writes nothing.
    knows_width = _columns_of(stream) > 0

    @contextmanager
    def bar(name: str, size: int) -> Iterator[Advance]:
        # Only a terminal needs tqdm: scripts start without it.
        from tqdm import tqdm

        with tqdm(
            desc=name,
            total=size,
            file=stream,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            ncols=None if knows_width else _COLUMNS,
            dynamic_ncols=knows_width,
        ) as shown:
            yield shown.update

    return bar


def _columns_of(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


@contextmanager
def _nothing(_name: str, _size: int) -> Iterator[Advance]:
    yield lambda _count: None

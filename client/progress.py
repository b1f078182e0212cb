"""Bars with rate and time left, for people who watch a terminal."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, NoReturn, Self, TextIO, TypeGuard

if TYPE_CHECKING:
    from tqdm import tqdm

_COLUMNS = 80
_LARGE_BYTES = 1 << 20
"""Smaller files are through before anybody could read their names."""

Advance = Callable[[int], object]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a name and a size in bytes; the context's value is told of every step's bytes."""


def progress_on(stream: TextIO | None, *, quiet: bool) -> Progress:
    """A bar on `stream` when that is a terminal and `quiet` is not asked for, otherwise none."""
    if quiet or not is_terminal(stream):
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


def is_terminal(stream: TextIO | None) -> TypeGuard[TextIO]:
    """Whether somebody may watch it; None is a stream that was closed before the start (`2>&-`)."""
    return stream is not None and stream.isatty()


def _columns_of(stream: TextIO | None) -> int:
    if stream is None:
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


@contextmanager
def _nothing(_name: str, _size: int) -> Iterator[Advance]:
    yield lambda _count: None


class Display:
    """How far many files have come: a bar for all of them, and one for each that is large.

    Shows nothing unless `stream` is a terminal and `quiet` is not asked for. May be told from any
    thread. A context manager, which takes the bars away.
    """

    def __init__(
        self, stream: TextIO | None, *, quiet: bool, files: int, total: int | None, action: str
    ) -> None:
        self._stream = stream
        self._shown = not quiet and is_terminal(stream)
        self._files = files
        self._total = total
        self._action = action
        self._finished = 0
        self._lock = Lock()
        self._done: dict[str, int] = {}
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._whole: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        if self._shown:
            self._whole = self._bar(self._label(), self._total)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            bars, self._bars = [*self._bars.values()], {}
            whole, self._whole = self._whole, None
        for bar in (*bars, *([whole] if whole is not None else [])):
            bar.close()

    def advance(self, name: str, done: int, total: int | None) -> None:
        """`done` bytes of the file are through, counted from its beginning."""
        with self._lock:
            if self._whole is None:
                return
            step = done - self._done.get(name, 0)
            self._done[name] = done
            bar = self._bars.get(name)
            if bar is None and (total is None or total >= _LARGE_BYTES) and self._files > 1:
                bar = self._bars[name] = self._bar(name, total)
            if bar is not None:
                bar.update(done - bar.n)
            self._whole.update(step)

    def finish(self, name: str, size: int) -> None:
        """The file is done with, or given up; `size` is what it counts for in the whole."""
        self.advance(name, size, 0)
        with self._lock:
            self._done.pop(name, None)
            bar = self._bars.pop(name, None)
            if bar is not None:
                bar.close()
            self._finished += 1
            if self._whole is not None:
                self._whole.set_description(self._label(), refresh=False)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the bars out of the way of a line that is written meanwhile."""
        if self._whole is None:
            yield
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self._stream):
            yield

    def _label(self) -> str:
        if self._files == 1:
            return self._action
        return f"{self._action} {self._finished}/{self._files}"

    def _bar(self, name: str, total: int | None) -> "tqdm[NoReturn]":
        from tqdm import tqdm

        columns = _columns_of(self._stream)
        return tqdm(
            desc=name,
            total=total,
            file=self._stream,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            leave=False,
            ncols=None if columns else _COLUMNS,
            dynamic_ncols=columns > 0,
        )

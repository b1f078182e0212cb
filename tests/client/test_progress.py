"""The progress bar, where there is somebody to watch it."""

import io

import pytest

from client.progress import progress_on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_name_size_and_rate() -> None:
    terminal = Terminal()

    with progress_on(terminal, quiet=False)("notes.txt", 2048) as advance:
        advance(2048)

    shown = terminal.getvalue()
    assert "notes.txt" in shown
    assert "100%" in shown
    assert "2.00k/2.00k" in shown
    assert "B/s" in shown


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_nobody_watching_or_asked_for_shows_nothing(stream: io.StringIO, quiet: bool) -> None:
    with progress_on(stream, quiet=quiet)("notes.txt", 2048) as advance:
        advance(2048)

    assert stream.getvalue() == ""

"""The bars of many files, where there is somebody to watch them."""

import io

import pytest

from client.progress import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_for_all_and_one_for_each_large_file() -> None:
    terminal = Terminal()
    with Display(terminal, quiet=False, files=2, total=5 << 20, action="sending") as display:
        display.advance("large", 1 << 20, 4 << 20)
        display.advance("large", 0, 4 << 20)  # the server had less than we thought
        display.advance("large", 4 << 20, 4 << 20)
        display.finish("large", 4 << 20)
        display.finish("small", 1 << 20)
        with display.aside():
            terminal.write("a line\n")

    shown = terminal.getvalue()
    assert "sending 0/2" in shown
    assert "large:   0%" in shown
    assert "small" not in shown
    assert "a line\n" in shown


def test_a_single_file_has_one_bar() -> None:
    terminal = Terminal()
    with Display(terminal, quiet=False, files=1, total=None, action="etc.tar") as display:
        display.advance("etc.tar", 4 << 20, None)

    assert "etc.tar: " in terminal.getvalue()
    assert "/1" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True), (None, False)]
)
def test_nobody_watching_or_asked_for_shows_nothing(
    stream: io.StringIO | None, quiet: bool
) -> None:
    with Display(stream, quiet=quiet, files=2, total=9, action="sending") as display:
        display.advance("f", 9, 9)
        display.finish("f", 9)
        with display.aside():
            pass

    assert stream is None or stream.getvalue() == ""

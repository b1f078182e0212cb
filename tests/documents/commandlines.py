"""Command lines in the documents, each with the line that it stands on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"```(\w*)\s*")
_COMMENT = re.compile(r"\s+# .*$")
_INLINE = re.compile(r"`([^`]+)`")
_OPTIONAL = re.compile(r" \[([^]]*)\]")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a document, counted from 1; as text it is `README.md:57: make demo`."""

    document: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.number}: {self.text}"

    @property
    def variants(self) -> tuple[str, ...]:
        """The command without what stands in brackets, and with all of it."""
        return tuple(
            dict.fromkeys((_OPTIONAL.sub("", self.text), _OPTIONAL.sub(r" \1", self.text)))
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, empty for commands, and its lines that are not empty."""

    language: str
    lines: tuple[Line, ...]


def blocks(text: str, document: str) -> Iterator[Block]:
    """The fenced blocks of a document in order, comments behind commands left out."""
    language: str | None = None
    lines: list[Line] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            if language is not None and line.strip():
                lines.append(Line(document, number, _COMMENT.sub("", line)))
        elif language is None:
            language, lines = fence[1], []
        else:
            yield Block(language, tuple(lines))
            language = None


def section(text: str, document: str, title: str) -> list[Block]:
    """The blocks below a heading of the second level, up to the next one; `LookupError` when
    there is no such heading or no block below it."""
    heading = f"## {title}"
    lines = text.splitlines()
    if heading not in lines:
        raise LookupError(f"{document}: there is no heading {heading!r}")
    start = lines.index(heading)
    end = next((at for at in range(start + 1, len(lines)) if lines[at].startswith("## ")), None)
    # What stands before is emptied and not cut off, which keeps the numbers of the lines.
    found = list(blocks("\n".join([""] * start + lines[start:end]), document))
    if not found:
        raise LookupError(f"{document}: there are no commands below {heading!r}")
    return found


def inline(text: str, document: str) -> Iterator[Line]:
    """What stands between backticks, outside of fenced blocks."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.fullmatch(line):
            inside = not inside
        elif not inside:
            for found in _INLINE.findall(line):
                yield Line(document, number, found.replace(r"\|", "|"))

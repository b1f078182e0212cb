"""transfer.info: which server, under which name, which files."""

import re
from pathlib import Path
from typing import NamedTuple

from client.errors import BadInput

TRANSFER_INFO = "transfer.info"
MAX_TRANSFER_INFO_BYTES = 16 << 20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Line(NamedTuple):
    """A line without trailing blanks, and where it stands: `transfer.info, line 2`."""

    text: str
    origin: str


class TransferInfo(NamedTuple):
    """The lines of transfer.info, not judged yet: address, client name, paths.

    A line that is missing is there as an empty one; empty lines between the paths are not.
    """

    server: Line
    name: Line
    files: tuple[Line, ...]


def read_transfer_info(directory: Path) -> TransferInfo | None:
    """The transfer.info in `directory`, None when there is none; `BadInput` when unreadable."""
    path = directory / TRANSFER_INFO
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRANSFER_INFO_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInput(str(path), error.strerror or "unreadable", "make it readable") from error
    return parse_transfer_info(data)


def parse_transfer_info(data: bytes) -> TransferInfo:
    """Accepts any line ends, a byte-order mark and trailing blanks.

    Raises `BadInput` when a line is not UTF-8 text or the whole is larger than
    `MAX_TRANSFER_INFO_BYTES`.
    """
    if len(data) > MAX_TRANSFER_INFO_BYTES:
        raise BadInput(
            TRANSFER_INFO,
            f"larger than {MAX_TRANSFER_INFO_BYTES} bytes",
            "write the address, the name and the paths, each on a line",
        )
    lines = [
        _line(number, raw)
        for number, raw in enumerate(_LINE_END.split(data.removeprefix(_BYTE_ORDER_MARK)), 1)
    ]
    while len(lines) < 2:
        lines.append(_line(len(lines) + 1, b""))
    return TransferInfo(lines[0], lines[1], tuple(line for line in lines[2:] if line.text))


def _line(number: int, raw: bytes) -> Line:
    origin = f"{TRANSFER_INFO}, line {number}"
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadInput(origin, "not UTF-8 text", "save the file as UTF-8") from error
    if "\0" in text:
        raise BadInput(origin, "contains a NUL byte", "save the file as UTF-8")
    return Line(text.rstrip(" \t"), origin)

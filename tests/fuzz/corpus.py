"""The inputs that are kept: a text file for each target, an input in base64 on each line.

A line that begins with `#` says of the next one what it once showed.
"""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).with_name("corpus")


def path(name: str) -> Path:
    """The file of a target's inputs."""
    return DIRECTORY / f"{name}.txt"


def kept(name: str) -> list[bytes]:
    """A target's inputs; none where there is no file yet."""
    if not path(name).exists():
        return []
    lines = path(name).read_text("ascii").splitlines()
    return [base64.b64decode(line, validate=True) for line in lines if not line.startswith("#")]


def keep(name: str, inputs: Iterable[bytes], most_bytes: int) -> int:
    """Adds inputs to a target's, the smallest first, until all have `most_bytes`; how many."""
    known = kept(name)
    left = most_bytes - sum(map(len, known))
    new: list[bytes] = []
    for data in sorted(set(inputs) - set(known), key=lambda data: (len(data), data)):
        left -= len(data)
        if left < 0:
            break
        new.append(data)
    with path(name).open("a", encoding="ascii") as stream:
        stream.writelines(base64.b64encode(data).decode() + "\n" for data in new)
    return len(new)


def spread(directory: Path, inputs: Iterable[bytes]) -> None:
    """Writes each input to a file of its own, as libFuzzer wants them."""
    directory.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (directory / hashlib.sha256(data).hexdigest()[:32]).write_bytes(data)


def gathered(directory: Path) -> list[bytes]:
    """The inputs in the files of a directory."""
    return [file.read_bytes() for file in sorted(directory.iterdir())]

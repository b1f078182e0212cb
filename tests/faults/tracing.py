"""The system calls by which a process changes its files, recorded with strace."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CALLS = (
    "openat,open,creat,close,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,"
    "fallocate,fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,"
    "rmdir,link,linkat,symlink,symlinkat,dup,dup2,dup3,copy_file_range,sendfile"
)
SOCKETS = ("connect", "sendto", "recvfrom")
_MOST_BYTES = 1 << 24  # of one write; strace is not to shorten any

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>,? ?(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_PATH = re.compile(r"<([^>]*)>")
_UNFINISHED = " <unfinished ...>"


def strace(record: Path, *, sockets: bool = False) -> tuple[str, ...]:
    """The command that runs what follows it and writes its system calls to `record`, with `sockets`
    also those by which it asks other processes."""
    traced = ",".join((_CALLS, *SOCKETS)) if sockets else _CALLS
    return (
        "strace", "-f", "-y", "-ttt", "-xx", "-s", str(_MOST_BYTES), "-e", "signal=kill",
        "-e", f"trace={traced}", "-o", str(record),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded; calls are numbered by the lines of the record. `begun` and
    `ended` are these numbers, `at` the time at which it began."""

    name: str
    arguments: tuple[str, ...]
    result: int
    at: float
    begun: int
    ended: int

    def descriptor(self, position: int = 0) -> int:
        """The descriptor that an argument is."""
        return int(self.arguments[position].partition("<")[0])

    def target(self) -> Path:
        """The path of the file or directory whose descriptor the first argument is."""
        match = _PATH.search(self.arguments[0])
        return Path(_unescaped(match[1]).decode() if match else "")

    def data(self, position: int) -> bytes:
        """The bytes that an argument is."""
        return _unescaped(self.arguments[position].strip('"'))

    def path(self, position: int) -> Path:
        """The path that an argument is, below the directory before it if there is one."""
        path = Path(self.data(position).decode())
        directory = _PATH.search(self.arguments[position - 1]) if position else None
        if path.is_absolute() or directory is None:
            return path
        return Path(_unescaped(directory[1]).decode()) / path


def calls(record: Path) -> Iterator[Call]:
    """Every call in a record that succeeded, in the order in which they ended."""
    begun: dict[str, tuple[int, float, str]] = {}
    with record.open() as lines:
        for number, line in enumerate(lines):
            match = _LINE.match(line)
            if match is None:
                raise ValueError(f"strace wrote {line[:200]!r}")
            process, at, text = match[1], float(match[2]), match[3]
            if text.startswith(("+++", "---")):
                continue
            if text.endswith(_UNFINISHED):
                begun[process] = number, at, text.removesuffix(_UNFINISHED)
                continue
            first = number
            resumed = _RESUMED.match(text)
            if resumed is not None:
                first, at, beginning = begun.pop(process)
                text = beginning + resumed[1]
            call = _call(text, at, first, number)
            if call is not None:
                yield call


def _call(text: str, at: float, begun: int, ended: int) -> Call | None:
    match = _CALL.match(text)
    if match is None:
        if ") = ?" in text:
            return None  # the process ended in the middle of it
        raise ValueError(f"strace wrote {text[:200]!r}")
    result = int(match[3])
    if result < 0:
        return None
    return Call(match[1], tuple(match[2].split(", ")), result, at, begun, ended)


def _unescaped(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))

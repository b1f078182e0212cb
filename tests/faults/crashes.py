"""What a power cut may leave of a directory, after each of the calls that changed it.

The model is weaker than any file system in use, as POSIX allows it to be: nothing is on the disk
that was not synced, but any of it may be. Only fsync or fdatasync of a file keeps its bytes, only
fsync of a directory keeps the names in it, syncfs and sync keep everything. A rename to another
directory is two changes, of which each may be there without the other. Bytes that were written and
not synced may be there, or not, or in part, or as zeros.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from tests.faults.tracing import Call

_RUN_BYTES = 1 << 18


@dataclass(eq=False)
class File:
    """A file's bytes as they are on the disk for certain."""

    durable: bytearray = field(default_factory=bytearray)


@dataclass(eq=False)
class Directory:
    """A directory's names as they are on the disk for certain, and as a process sees them."""

    durable: dict[str, "Node"] = field(default_factory=dict)
    seen: dict[str, "Node"] = field(default_factory=dict)


Node = File | Directory


class Fate(Enum):
    """What becomes of a change that was not synced."""

    KEPT = auto()
    LOST = auto()
    TORN = auto()
    """Of a write, the first half."""
    ZEROS = auto()
    """Of a write, its length: the file's size was kept and the bytes were not."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written at an offset, or with `data` None a size given to the file."""

    file: File
    offset: int
    data: bytes | None
    ended: int

    def apply(self, content: bytearray, fate: Fate = Fate.KEPT) -> None:
        """Makes what is kept of this change in the file's bytes."""
        content.extend(bytes(max(self.offset - len(content), 0)))
        if self.data is None:
            del content[self.offset :]
            return
        data = self.data
        if fate is Fate.TORN:
            data = data[: len(data) // 2]
        elif fate is Fate.ZEROS:
            data = bytes(len(data))
        content[self.offset : self.offset + len(data)] = data


@dataclass(frozen=True, slots=True)
class Names:
    """Names given or taken (None) in one directory, at once."""

    directory: Directory
    changed: tuple[tuple[str, Node | None], ...]
    ended: int


Change = Write | Names
State = dict[str, bytearray | None]
"""Everything below the directory by its relative path; None is a directory. Two paths of one file
have the same object."""


class Disk:
    """The directory `root` of the process whose calls are applied, and what is certain of it."""

    def __init__(self, root: Path) -> None:
        self.top = Directory()
        self.pending: list[Change] = []
        self._root = root
        self._open: dict[int, tuple[Node, list[int]]] = {}

    def apply(self, call: Call) -> bool:
        """Takes a call in; whether it changed anything, or made it certain."""
        act = _ACTS.get(call.name)
        if act is None:
            raise NotImplementedError(f"the model knows nothing of {call.name}")
        return act(self, call)

    # What a power cut may leave

    def states(self, fates: Sequence[Sequence[Fate]]) -> Iterator[State]:
        """The state for each row of fates, one for each pending change."""
        for row in fates:
            yield self._state(dict(zip(map(id, self.pending), row, strict=True)))

    def _state(self, fates: dict[int, Fate]) -> State:
        kept = [change for change in self.pending if fates[id(change)] is not Fate.LOST]
        state: State = {}
        contents: dict[int, bytearray] = {}

        def visit(directory: Directory, path: str) -> None:
            names = dict(directory.durable)
            for change in kept:
                if isinstance(change, Names) and change.directory is directory:
                    _rename(names, change)
            for name, node in names.items():
                if isinstance(node, Directory):
                    state[path + name] = None
                    visit(node, f"{path}{name}/")
                else:
                    if id(node) not in contents:
                        contents[id(node)] = bytearray(node.durable)
                        for change in kept:
                            if isinstance(change, Write) and change.file is node:
                                change.apply(contents[id(node)], fates[id(change)])
                    state[path + name] = contents[id(node)]

        visit(self.top, "")
        return state

    # Calls

    def open(self, call: Call) -> bool:
        at = 1 if call.name == "openat" else 0
        path, flags = call.path(at), call.arguments[at + 1]
        place = self._place(path)
        if place is None:
            self._open.pop(call.result, None)
            return False
        directory, name = place
        node = directory.seen.get(name) if name else directory
        changed = False
        if node is None:
            node = File()
            self._name(directory, call, (name, node))
            changed = True
        elif isinstance(node, File) and "O_TRUNC" in flags:
            self.pending.append(Write(node, 0, None, call.ended))
            changed = True
        if "O_APPEND" in flags:
            raise NotImplementedError("the model knows nothing of appending")
        self._open[call.result] = node, [0]
        return changed

    def close(self, call: Call) -> bool:
        self._open.pop(call.descriptor(), None)
        return False

    def seek(self, call: Call) -> bool:
        if call.descriptor() in self._open:
            self._open[call.descriptor()][1][0] = call.result
        return False

    def write(self, call: Call) -> bool:
        node, position = self._open.get(call.descriptor(), (None, [0]))
        if not isinstance(node, File):
            return False
        data = call.data(1)[: call.result]
        if call.name == "pwrite64":
            offset = int(call.arguments[3])
        else:
            offset = position[0]
            position[0] += len(data)
        return self._write(Write(node, offset, data, call.ended))

    def truncate(self, call: Call) -> bool:
        node, _ = self._open.get(call.descriptor(), (None, [0]))
        if not isinstance(node, File):
            return False
        self.pending.append(Write(node, int(call.arguments[1]), None, call.ended))
        return True

    def sync(self, call: Call) -> bool:
        found = self._open.get(call.descriptor())
        if found is None:
            return False
        self._keep(
            call,
            lambda change: (
                found[0] is (change.file if isinstance(change, Write) else change.directory)
            ),
        )
        return True

    def sync_all(self, call: Call) -> bool:
        self._keep(call, lambda _change: True)
        return True

    def rename(self, call: Call) -> bool:
        first, second = (0, 1) if call.name == "rename" else (1, 3)
        source, target = self._place(call.path(first)), self._place(call.path(second))
        if source is None or target is None:
            return False
        node = source[0].seen[source[1]]
        if source[0] is target[0]:
            self._name(source[0], call, (source[1], None), (target[1], node))
        else:
            self._name(target[0], call, (target[1], node))
            self._name(source[0], call, (source[1], None))
        return True

    def unlink(self, call: Call) -> bool:
        place = self._place(call.path(1 if call.name == "unlinkat" else 0))
        if place is None:
            return False
        self._name(place[0], call, (place[1], None))
        return True

    def make_directory(self, call: Call) -> bool:
        path = call.path(1 if call.name == "mkdirat" else 0)
        if path == self._root:
            return False  # that the directory itself is there is what the model begins with
        place = self._place(path)
        if place is None:
            return False
        self._name(place[0], call, (place[1], Directory()))
        return True

    # Parts

    def _place(self, path: Path) -> tuple[Directory, str] | None:
        """The directory that a path is in, and its name there; empty for the root itself."""
        if path == self._root:
            return self.top, ""
        if not path.is_relative_to(self._root):
            return None
        *above, name = path.relative_to(self._root).parts
        directory = self.top
        for part in above:
            found = directory.seen[part]
            assert isinstance(found, Directory)
            directory = found
        return directory, name

    def _name(self, directory: Directory, call: Call, *changed: tuple[str, Node | None]) -> None:
        change = Names(directory, changed, call.ended)
        _rename(directory.seen, change)
        self.pending.append(change)

    def _write(self, write: Write) -> bool:
        """Takes a write in, as part of the one before it where that goes on: a file that comes in
        thousands of pieces has no more states worth a look than one that comes in a few."""
        last = self.pending[-1] if self.pending else None
        if (
            isinstance(last, Write)
            and last.file is write.file
            and last.data
            and write.data
            and last.offset + len(last.data) == write.offset
            and len(last.data) < _RUN_BYTES
        ):
            data = last.data + write.data
            self.pending[-1] = Write(last.file, last.offset, data, write.ended)
            return False
        self.pending.append(write)
        return True

    def _keep(self, sync: Call, chosen: Callable[[Change], bool]) -> None:
        """What was changed before the sync began is certain now."""
        left = []
        for change in self.pending:
            if change.ended > sync.begun or not chosen(change):
                left.append(change)
            elif isinstance(change, Write):
                change.apply(change.file.durable)
            else:
                _rename(change.directory.durable, change)
        self.pending = left


def _rename(names: dict[str, Node], change: Names) -> None:
    for name, node in change.changed:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


_ACTS: dict[str, Callable[[Disk, Call], bool]] = {
    "openat": Disk.open,
    "open": Disk.open,
    "close": Disk.close,
    "lseek": Disk.seek,
    "write": Disk.write,
    "pwrite64": Disk.write,
    "ftruncate": Disk.truncate,
    "fsync": Disk.sync,
    "fdatasync": Disk.sync,
    "syncfs": Disk.sync_all,
    "rename": Disk.rename,
    "renameat": Disk.rename,
    "renameat2": Disk.rename,
    "unlink": Disk.unlink,
    "unlinkat": Disk.unlink,
    "mkdir": Disk.make_directory,
    "mkdirat": Disk.make_directory,
}


def chosen_fates(pending: Sequence[Change], *, more: int) -> list[list[Fate]]:
    """Which fates to try: everything kept, everything lost, and with `more` above 0 each change
    alone kept, alone lost, torn and zeroed, and so many rows of random fates."""
    count = len(pending)
    rows = [[Fate.KEPT] * count]
    if count:
        rows.append([Fate.LOST] * count)
    if more:
        for position, change in enumerate(pending):
            rows.append([Fate.KEPT if one == position else Fate.LOST for one in range(count)])
            rows.extend(
                [fate if one == position else Fate.KEPT for one in range(count)]
                for fate in _possible(change)[1:]
            )
    if more and count > 1:
        rows.extend(random_fates(pending) for _ in range(more))
    return rows


def random_fates(pending: Sequence[Change]) -> list[Fate]:
    """A row of random fates."""
    return [random.choice(_possible(change)) for change in pending]


def _possible(change: Change) -> tuple[Fate, ...]:
    if isinstance(change, Write) and change.data:
        return (Fate.KEPT, Fate.LOST, Fate.TORN, Fate.ZEROS)
    return (Fate.KEPT, Fate.LOST)

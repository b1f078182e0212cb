"""A receiver on a real directory and a real SQLite file, with crashes and failures on demand."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from protocol.cksum import Cksum
from server.config import Config
from server.receiving import Receiver, Recovery, Upload
from server.repository import Client, Repository, open_repository
from server.storage import DirectoryStorage
from tests.server.running import settings_for_tests

ALICE = b"\xaa" * 16
NOW = 1_700_000_000


class Crash(BaseException):
    """The process ends here: nothing that the code would do about an error happens."""


class OnDisk:
    """What a server keeps; `restart` is a new process on the same data."""

    def __init__(self, data: Path, **settings: Any) -> None:  # noqa: ANN401 - any setting of Config
        self.config: Config = settings_for_tests(data, **settings)
        self.open()

    def open(self, database: str | None = None) -> None:
        self.storage = DirectoryStorage(self.config.data)
        self.repository: Repository = open_repository(database or self.config.database_url)
        self.receiver = Receiver(self.repository, self.storage, self.config, lambda: NOW)

    def close(self) -> None:
        self.repository.close()
        self.storage.close()

    def restart(self, database: str | None = None) -> Recovery:
        """Ends as a crash would and starts again, on the same database or another one."""
        self.close()
        self.open(database)
        return self.receiver.recover()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, client_id: bytes = ALICE, name: str = "Alice") -> bytes:
        self.repository.add_client(Client(client_id, name, NOW, NOW))
        return client_id

    def upload(self, name: str, content: bytes, client_id: bytes = ALICE) -> Upload:
        """An upload that has all its bytes."""
        upload = self.receiver.begin(client_id, name, len(content))
        upload.write(memoryview(content))
        return upload

    def keep(self, name: str, content: bytes, client_id: bytes = ALICE) -> Upload:
        """A published upload."""
        upload = self.upload(name, content, client_id)
        upload.publish()
        return upload

    def visible(self, client_id: bytes = ALICE) -> dict[str, bytes]:
        """The bytes of every file of the client, by name."""
        return {
            file.name: self.storage.path(client_id, file.object_id).read_bytes()
            for file in self.repository.files(client_id)
        }

    def objects(self, client_id: bytes = ALICE) -> set[str]:
        """The names of the client's objects."""
        return _names(self.config.data / client_id.hex())

    def orphans(self, client_id: bytes = ALICE) -> set[str]:
        """The names of the client's objects that are set aside."""
        return _names(self.config.data / "orphans" / client_id.hex())

    def staged(self) -> set[str]:
        """The names of staged files."""
        return _names(self.config.data / "staging")


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


def cksum(content: bytes) -> int:
    checksum = Cksum()
    checksum.update(content)
    return checksum.value


@dataclass
class Steps:
    """Records what is done to the disk, and fails or crashes before a chosen step.

    A step is `write`, `sync`, `rename`, `remove` or `commit`, and the path below the root (where
    to, for a rename)."""

    root: Path
    taken: list[str] = field(default_factory=list)
    failing: str | None = None
    error: Callable[[], BaseException] = Crash
    whole: bool = False

    def fail(
        self, step: str, error: Callable[[], BaseException] = Crash, *, whole: bool = False
    ) -> None:
        """Raises `error` in place of each step that begins with `step`, or with `whole` is just
        that, until it is mended."""
        self.failing, self.error, self.whole = step, error, whole

    def mend(self) -> None:
        self.failing = None

    def record(self, what: str, path: str | Path = "") -> None:
        if path:
            try:
                what += f" {Path(path).relative_to(self.root)}"
            except ValueError:
                return  # not ours: the database's or the test runner's
        self.taken.append(what)
        if self.failing is None:
            return
        if what == self.failing or (what.startswith(self.failing) and not self.whole):
            raise self.error()


def io_error() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only() -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS))


def watch(root: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Records steps below `root` from now on."""
    steps = Steps(root)
    write, sync, rename, unlink = os.write, os.fsync, os.rename, os.unlink

    def path_of(descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def recorded_write(descriptor: int, data: memoryview) -> int:
        steps.record("write", path_of(descriptor))
        return write(descriptor, data)

    def recorded_sync(descriptor: int) -> None:
        steps.record("sync", path_of(descriptor))
        sync(descriptor)

    def recorded_rename(source: Path, target: Path) -> None:
        steps.record("rename", target)
        rename(source, target)

    def recorded_unlink(path: Path) -> None:
        steps.record("remove", path)
        unlink(path)

    monkeypatch.setattr(os, "write", recorded_write)
    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    monkeypatch.setattr(os, "unlink", recorded_unlink)
    return steps


def watch_commits(steps: Steps, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records the repository's publications among the steps."""
    publish = repository.publish_file

    def recorded(*arguments: Any) -> bytes | None:  # noqa: ANN401 - as the method wrapped
        steps.record("commit")
        return publish(*arguments)

    monkeypatch.setattr(repository, "publish_file", recorded)

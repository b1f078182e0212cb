"""A real server for tests: the product's listener on a free loopback port, in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.config import Config
from server.listener import Listener
from server.repository import Repository, StoredFile
from server.serving import listening


@dataclass(frozen=True)
class Running:
    """A server that serves; `repository` and `data` show what it keeps."""

    listener: Listener
    data: Path

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def repository(self) -> Repository:
        return self.listener.doors.services4.repository

    def stored(self) -> dict[tuple[str, str], bytes]:
        """The bytes of every visible file by (client name, file name)."""
        return {
            (client.name, file.name): self.path(file).read_bytes()
            for client in self.repository.clients()
            for file in self.repository.files(client.id)
        }

    def path(self, file: StoredFile) -> Path:
        """Where a file's bytes lie."""
        return self.data / file.client_id.hex() / file.object_id.hex()

    def staged(self) -> list[Path]:
        """Files that are being received or await their verdict."""
        return list((self.data / "staging").iterdir())


def settings_for_tests(data: Path, **settings: Any) -> Config:  # noqa: ANN401 - any setting of Config
    """Settings that suit a test: a free port, short grace, no disk kept free."""
    defaults: dict[str, Any] = {
        "port": 0, "data": data, "grace_seconds": 5.0, "min_free_bytes": 0, "idle_seconds": 20.0,
    }  # fmt: skip
    return Config(**(defaults | settings))


@contextmanager
def running(data: Path, **settings: Any) -> Iterator[Running]:  # noqa: ANN401 - any setting of Config
    """Serves until the context ends, then drains and checks that every thread has ended."""
    config = settings_for_tests(data, **settings)
    before = set(threading.enumerate())
    with listening(config) as listener:
        accepting = threading.Thread(
            target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        accepting.start()
        try:
            yield Running(listener, data)
        finally:
            listener.drain()
            accepting.join(5)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), f"{thread.name} outlived the server"

"""A server in memory, and an empty directory to work in without anybody to ask."""

import os
from pathlib import Path

import pytest

from client.commands import asking
from tests.client.commands.fake import FakeServer


@pytest.fixture
def server() -> FakeServer:
    """A server on which this client is registered as alice."""
    return FakeServer()


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; the user's own directories are elsewhere below `tmp_path`."""
    for variable in [name for name in os.environ if name.startswith("EFT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(asking, "_attended", lambda: False)
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory

"""Servers, and a client that has proved itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer4.client import Peer4
from tests.peer4.serving import Serving, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data") as running:
        yield running


@pytest.fixture
def everywhere(tmp_path: Path, database_url: str) -> Iterator[Serving]:
    """A server on each kind of database."""
    with serving(tmp_path / "data", database=database_url) as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()

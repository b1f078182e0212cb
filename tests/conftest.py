"""Fixtures that more than one package of tests uses."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.contexts import SEGMENT_BYTES
from tests.mariadb import MariaDB


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A running MariaDB server; a test that stops it starts it again."""
    server = MariaDB()
    yield server
    server.remove()


@pytest.fixture
def memory() -> Iterator[memoryview]:
    """A segment that begins with a page."""
    with mmap.mmap(-1, SEGMENT_BYTES) as pages, memoryview(pages) as view:
        yield view


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each kind; it needs no password."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'repository.db'}"
    server: MariaDB = request.getfixturevalue("mariadb")
    return server.url(server.new_database())

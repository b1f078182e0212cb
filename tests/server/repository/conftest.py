"""Open repositories, on each kind of database or on MariaDB with a given address."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from server.repository import Client, Repository, open_repository
from server.repository.mysql import MySQLRepository
from server.repository.mysql_connections import Address
from tests.mariadb import MariaDB
from tests.server.repository import samples

Open = Callable[[], Repository]
OpenAt = Callable[..., MySQLRepository]


@pytest.fixture
def open_another(database_url: str) -> Iterator[Open]:
    """Opens the same database again, as another process would."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(open_repository(database_url)))


@pytest.fixture
def repository(open_another: Open) -> Repository:
    return open_another()


@pytest.fixture
def alice(repository: Repository) -> Client:
    client = samples.client("Alice")
    repository.add_client(client)
    return client


@pytest.fixture
def address(mariadb: MariaDB) -> Address:
    """A new database, by the socket."""
    return Address(
        host="localhost",
        port=mariadb.port,
        database=mariadb.new_database(),
        user="eft",
        unix_socket=str(mariadb.unix_socket),
    )


@pytest.fixture
def by_port(address: Address) -> Address:
    """The same database, by the loopback port."""
    return replace(address, host="127.0.0.1", unix_socket=None)


@pytest.fixture
def open_at() -> Iterator[OpenAt]:
    with ExitStack() as opened:
        yield lambda *given, **options: opened.enter_context(
            closing(MySQLRepository(*given, **options))
        )

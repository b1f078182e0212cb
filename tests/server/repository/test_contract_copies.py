"""What every repository promises about copies of all that it holds, on SQLite and on MariaDB."""

import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server.repository import (
    DONE,
    Action,
    Client,
    Event,
    NotEmpty,
    Repository,
    Token,
    open_repository,
)
from server.repository.copying import TABLES
from server.repository.sqlite import SqliteRepository
from server.repository.transactions import BATCH_ROWS, Query, SqlDatabase
from tests.mariadb import MariaDB
from tests.server.repository.conftest import Open
from tests.server.repository.samples import client, content4, publication, stored_file, upload

RESTORED = Event(Action.RESTORED)


@pytest.fixture(params=["to sqlite", "to mariadb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    """A database of each kind that holds nothing."""
    url = f"sqlite:///{tmp_path / 'empty'}"
    if request.param == "to mariadb":
        server: MariaDB = request.getfixturevalue("mariadb")
        url = server.url(server.new_database())
    with closing(open_repository(url)) as repository:
        yield repository


@pytest.fixture
def full(repository: Repository, alice: Client) -> Repository:
    """A database that has rows in every table, some with all that a row may hold."""
    bob = client("Bob \udce9 🦄", public_key=os.urandom(300), wrapped_aes_key=os.urandom(40))
    repository.add_client(bob)
    repository.set_disabled(bob.id, True)
    repository.add_token(Token(os.urandom(32), "Carol", 2_000_000_000, 1_700_000_000))
    repository.add_token(Token(os.urandom(32), None, 2_000_000_000, 1_700_000_001))
    repository.publish_file(stored_file(alice, "old"))
    repository.publish_file(stored_file(alice, "old", size=2**40))
    repository.publish(
        [publication(content4(bob, f"{number} % ' \\ \n ?")) for number in range(3)],
        lambda some: [os.urandom(100) for _ in some],
        Event(Action.UPLOAD, DONE, bob.id, bob.name, "192.0.2.1"),
    )
    repository.begin_upload(upload(alice))
    repository.claim(os.urandom(16))
    repository.record([Event(Action.RENAME, target="new", subjects=("a", "b"), size=2**50)])
    return repository


def everything(repository: Repository) -> dict[str, set[tuple[object, ...]]]:
    """Every row of every table."""
    assert isinstance(repository, SqlDatabase)

    def plain(value: object) -> object:
        return bytes(value) if isinstance(value, bytearray) else value

    queries = {table: Query(f"SELECT {', '.join(TABLES[table])} FROM {table}") for table in TABLES}  # noqa: S608
    return {
        table: {tuple(map(plain, row)) for row in repository._read(query)}
        for table, query in queries.items()
    }


def test_the_tables_that_are_copied_are_those_of_the_schema_with_all_their_columns(
    tmp_path: Path,
) -> None:
    with closing(SqliteRepository(tmp_path / "rows")) as repository:
        rows = repository._read(
            lambda transaction: transaction.rows(
                "SELECT tables.name, columns.name FROM sqlite_master AS tables "
                "JOIN pragma_table_info(tables.name) AS columns "
                "WHERE tables.type = 'table' AND tables.name != 'schema_version'"
            )
        )
    copied = {(table, column) for table, columns in TABLES.items() for column in columns}
    assert set(rows) == copied


def test_a_database_that_takes_over_a_copy_holds_the_same(
    full: Repository, empty: Repository, tmp_path: Path
) -> None:
    before = everything(full)
    assert all(before.values())
    full.copy_to(tmp_path / "copy")
    assert everything(full) == before
    with closing(open_repository(f"sqlite:///{tmp_path / 'copy'}")) as copy:
        assert everything(copy) == before
    empty.fill_from(tmp_path / "copy", RESTORED)
    assert RESTORED in list(empty.events())
    after = everything(empty)
    after["audit"] = {row for row in after["audit"] if row[1] != RESTORED.id}
    assert after == before


def test_a_copy_is_for_its_owner_only(full: Repository, tmp_path: Path) -> None:
    full.copy_to(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_a_copy_of_many_rows_is_whole(
    repository: Repository, empty: Repository, alice: Client, tmp_path: Path
) -> None:
    count = 2 * BATCH_ROWS + 1
    some = [publication(content4(alice, f"{number}")) for number in range(count)]
    repository.publish(some, lambda signed: [b"receipt"] * len(signed))
    repository.copy_to(tmp_path / "copy")
    empty.fill_from(tmp_path / "copy", RESTORED)
    assert empty.usage(alice.id).files == count


def test_rows_that_are_larger_together_than_a_statement_may_be_are_copied(
    repository: Repository, empty: Repository, tmp_path: Path
) -> None:
    name = "x" * 1000
    events = [Event(Action.UPLOAD, subjects=(name,) * 900) for _ in range(40)]
    for event in events:
        repository.record([event])
    repository.copy_to(tmp_path / "copy")
    empty.fill_from(tmp_path / "copy", RESTORED)
    assert sum(len(event.subjects) for event in empty.events()) == 40 * 900


def test_a_copy_is_of_one_moment_while_others_write(
    repository: Repository, open_another: Open, tmp_path: Path
) -> None:
    """Each event comes after the token of its number: no copy has one without the other."""
    with writing(open_another()):
        for number in range(5):
            repository.copy_to(tmp_path / f"{number}")
    for number in range(5):
        with closing(open_repository(f"sqlite:///{tmp_path / f'{number}'}")) as copy:
            named = {token.name for token in copy.tokens()}
            assert {event.client for event in copy.events()} <= named


@contextmanager
def writing(repository: Repository) -> Iterator[None]:
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            name = f"{number}"
            repository.add_token(Token(os.urandom(32), name, 1, 1))
            repository.record([Event(Action.CONNECT, client=name)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_only_an_empty_database_takes_over_a_copy(
    full: Repository, empty: Repository, tmp_path: Path
) -> None:
    full.copy_to(tmp_path / "copy")
    empty.record([event := Event(Action.CONNECT)])
    with pytest.raises(NotEmpty):
        empty.fill_from(tmp_path / "copy", RESTORED)
    assert list(empty.events()) == [event]
    assert list(empty.clients()) == []


@pytest.mark.parametrize("known", [None, bytes(16)])
def test_a_database_that_takes_over_a_copy_belongs_to_whom_the_copy_says(
    repository: Repository, empty: Repository, tmp_path: Path, known: bytes | None
) -> None:
    if known is not None:
        repository.claim(known)
    repository.copy_to(tmp_path / "copy")
    empty.claim(os.urandom(16))
    empty.fill_from(tmp_path / "copy", RESTORED)
    assert empty.pairing() == (None if known is None else (known, 0))


def test_a_database_that_cannot_take_over_a_copy_belongs_to_whom_it_did(
    full: Repository, empty: Repository, tmp_path: Path
) -> None:
    full.copy_to(tmp_path / "copy")
    own = empty.claim(os.urandom(16))
    empty.record([Event(Action.CONNECT)])
    with pytest.raises(NotEmpty):
        empty.fill_from(tmp_path / "copy", RESTORED)
    assert empty.pairing() == (own, 0)


def test_taking_over_a_copy_again_changes_nothing(
    full: Repository, empty: Repository, tmp_path: Path
) -> None:
    full.copy_to(tmp_path / "copy")
    empty.fill_from(tmp_path / "copy", RESTORED)
    before = everything(empty)
    empty.fill_from(tmp_path / "copy", RESTORED)
    assert everything(empty) == before


@pytest.mark.parametrize(
    "fill",
    [
        lambda repository: repository.add_client(client("Bob")),
        lambda repository: repository.add_token(Token(bytes(32), None, 1, 1)),
        lambda repository: repository.record([Event(Action.CONNECT)]),
    ],
    ids=["client", "token", "event"],
)
def test_a_database_that_holds_anything_is_not_empty(
    repository: Repository, fill: Callable[[Repository], object]
) -> None:
    assert repository.is_empty()
    repository.claim(os.urandom(16))  # as any server does that starts
    assert repository.is_empty()
    fill(repository)
    assert not repository.is_empty()

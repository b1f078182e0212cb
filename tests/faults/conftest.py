"""Fixtures of the fault runs."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.aftermath import Watch
from tests.faults.ordeals import Outcome
from tests.faults.packets import EmulatedPath, emulated_path, find_tun
from tests.faults.processes import RestartableServer, restartable
from tests.faults.records import Row, measured_commit, median_and_longest, record, today
from tests.faults.senders import Sender, four_senders
from tests.mariadb import MariaDB

DATABASES = {"sqlite": "SQLite", "mariadb": "MariaDB"}


@dataclass(frozen=True)
class Place:
    """Where a server of a fault run keeps its files and its rows."""

    data: Path
    database: str
    database_url: str | None

    @property
    def shown(self) -> str:
        """The database's name, for people."""
        return DATABASES[self.database]


@pytest.fixture(params=list(DATABASES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty data directory and an empty database, once for each kind."""
    return make_place(request, tmp_path / "data")


Watching = Callable[..., Watch]
"""Starts a server in a place, and four senders that have sent; further arguments are the server's.
`senders` makes others, given a port."""


@pytest.fixture
def watching() -> Iterator[Watching]:
    """Servers that are watched, and killed at the end."""
    with ExitStack() as stack:

        def start(
            place: Place,
            *arguments: str,
            senders: Callable[[int], list[Sender]] = four_senders,
        ) -> Watch:
            server: RestartableServer = stack.enter_context(
                restartable(place.data, *arguments, database_url=place.database_url)
            )
            watch = Watch(server, senders(server.port))
            watch.warm_up()
            return watch

        yield start


class Watches:
    """One watched server for each database, for all faults that it is to outlive."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Watch, ExitStack]] = {}

    def of(self, database: str, new: Callable[[], Place]) -> Watch:
        """The one that there is, or a new one in a new place."""
        if database not in self._kept:
            place = new()
            with ExitStack() as stack:
                server = stack.enter_context(
                    restartable(place.data, database_url=place.database_url)
                )
                watch = Watch(server, four_senders(server.port))
                watch.warm_up()
                self._kept[database] = watch, stack.pop_all()
        return self._kept[database][0]

    def end(self, database: str) -> None:
        """Ends the server of this database, if there is one."""
        if database in self._kept:
            self._kept.pop(database)[1].close()


@pytest.fixture(scope="session")
def watches() -> Iterator[Watches]:
    """None at first."""
    watches = Watches()
    yield watches
    for database in DATABASES:
        watches.end(database)


@pytest.fixture(params=list(DATABASES))
def watch(
    request: pytest.FixtureRequest, watches: Watches, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watch]:
    """A server that is watched, for each database; a test that fails takes it with it."""
    watch = watches.of(
        request.param, lambda: make_place(request, tmp_path_factory.mktemp("watched") / "data")
    )
    watch.is_sound = False
    yield watch
    if not watch.is_sound:
        watches.end(request.param)


def make_place(request: pytest.FixtureRequest, data: Path) -> Place:
    """The place for a fixture whose parameter is a kind of database."""
    url = None
    if request.param == "mariadb":
        server: MariaDB = request.getfixturevalue("mariadb")
        url = server.url(server.new_database())
    return Place(data, request.param, url)


@pytest.fixture
def path() -> Iterator[EmulatedPath]:
    """A path on which packets can be mistreated; its chance follows the seed that pytest shows."""
    try:
        find_tun()
    except OSError as error:
        pytest.skip(f"packets are mistreated between TUN devices, which cannot be had: {error}")
    with emulated_path(random.getrandbits(32)) as path:
        yield path


Report = Callable[..., None]
"""Takes what a `Row` has, but its table, database, command, date and commit."""


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Records a row of the table called after the test's module, with the command that runs this
    very test."""
    commit = measured_commit()  # what runs is what there was when the run began

    def write(
        fault: str,
        *,
        database: str,
        times: int,
        losses: list[str],
        recovery: list[float],
        protocol: str = "3, 4",
        note: str = "",
    ) -> None:
        assert losses == []
        module = request.module.__name__.rpartition(".")[2]
        case = request.node.name.partition("[")[2]
        record(
            Row(
                table=module.removeprefix("test_"),
                fault=fault,
                database=database,
                protocol=protocol,
                times=times,
                losses=len(losses),
                recovery=median_and_longest(recovery),
                command=f"make faults ONLY='{module} and [{case}'",
                date=today(),
                commit=commit,
                note=note,
            )
        )

    return write


Tell = Callable[..., None]
"""Takes a watched server, the fault, what came of it and, if it is not the usual one, the note."""


@pytest.fixture
def tell(report: Report) -> Tell:
    """Records what came of a fault as a row of the table."""

    def write(watch: Watch, fault: str, outcome: Outcome, note: str | None = None) -> None:
        report(
            fault,
            database=watch.database,
            times=outcome.times,
            losses=outcome.losses,
            recovery=outcome.recovery,
            note=outcome.note if note is None else note,
        )

    return write

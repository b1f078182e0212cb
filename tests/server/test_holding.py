"""Two copies of one data directory: servers on one database, at once or one after the other."""

import re
import shutil
import signal
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from server import backup, checking, restore
from server.config import Config
from server.errors import ConfigurationError, ServerError
from server.holding import Holding
from server.pairing import ID_FILE, refuse_older
from server.repository import (
    DatabaseInUse,
    Repository,
    RepositoryError,
    RepositoryUnavailable,
    migrations,
    open_repository,
)
from server.repository.statements import SqlRepository
from server.serving import listening
from tests.mariadb import MariaDB
from tests.peer4.client import Peer4
from tests.peer4.wire import RefusedError
from tests.server import commands
from tests.server.hostile_doubles import FailingRepository
from tests.server.hostile_surroundings import serves_honest, until
from tests.server.running import running, settings_for_tests

OLDER = (
    "is an older copy of the database's data directory, without the files that were acknowledged"
)


def copied(data: Path, to: Path) -> Path:
    """As `cp -a` would."""
    return Path(shutil.copytree(data, to))


def used_since_copied(tmp_path: Path, database_url: str) -> tuple[Path, Path]:
    """A data directory, and a copy of it without the file that came later."""
    data = tmp_path / "data"
    with running(data, database=database_url) as server:
        serves_honest(server)
    older = copied(data, tmp_path / "older")
    with running(data, database=database_url) as server:
        serves_honest(server, "newer")
    return data, older


def everything_in(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def starts(config: Config) -> None:
    with listening(config):
        pass


def check(config: Config, *, mend: bool = False) -> tuple[int, list[str]]:
    lines: list[str] = []
    return checking.run(config, lines.append, deep=False, mend=mend, as_json=False), lines


def test_a_server_on_a_copy_is_refused_while_the_first_one_runs(
    tmp_path: Path, database_url: str
) -> None:
    with running(tmp_path / "data", database=database_url) as server:
        serves_honest(server)
        copy = copied(server.data, tmp_path / "copy")
        before = everything_in(copy)
        with pytest.raises(DatabaseInUse, match="in use by another server: stop that") as refused:
            starts(settings_for_tests(copy, database=database_url))
        assert len(str(refused.value).splitlines()) == 1
        assert everything_in(copy) == before
        serves_honest(server, "another")
    starts(settings_for_tests(copy, database=database_url))


def schema_version(repository: Repository) -> int:
    """The version of the tables; 0 where there are none."""
    assert isinstance(repository, SqlRepository)
    return repository._read(
        lambda transaction: migrations._version(transaction, repository.dialect)
    )


def test_a_newer_version_on_a_copy_is_refused_before_it_migrates_the_database(
    tmp_path: Path, database_url: str
) -> None:
    with running(tmp_path / "data", database=database_url) as server:
        copy = settings_for_tests(copied(server.data, tmp_path / "copy"), database=database_url)
        older = migrations.NEWEST_VERSION - 1
        with closing(open_repository(database_url)) as meddler:
            assert isinstance(meddler, SqlRepository)
            meddler._write(
                lambda t: t.change("DELETE FROM schema_version WHERE version > ?", older)
            )
            with pytest.raises(DatabaseInUse):
                starts(copy)
            assert schema_version(meddler) == older
    starts(copy)


def test_a_new_database_that_another_server_holds_is_not_touched(
    tmp_path: Path, database_url: str
) -> None:
    config = settings_for_tests(tmp_path / "data", database=database_url)
    backed_up = settings_for_tests(tmp_path / "source")
    starts(backed_up)
    backup.run(backed_up, print, print, tmp_path / "backup", copy=True)
    with closing(open_repository(database_url, upgrade=None)) as held, ExitStack() as stack:
        held.hold()
        stack.enter_context(closing(Holding(held)))
        with pytest.raises(DatabaseInUse):
            starts(config)
        with pytest.raises(RepositoryError, match="in use by another server"):
            restore.run(
                settings_for_tests(tmp_path / "to", database=database_url),
                print, print, tmp_path / "backup",
            )  # fmt: skip
        assert schema_version(held) == 0
    starts(config)


def test_an_older_copy_is_refused_in_one_line_and_not_touched(
    tmp_path: Path, database_url: str
) -> None:
    data, older = used_since_copied(tmp_path, database_url)
    before = everything_in(older)
    config = settings_for_tests(older, database=database_url)

    with pytest.raises(ConfigurationError, match=OLDER) as refused:
        starts(config)
    assert len(str(refused.value).splitlines()) == 1
    for change in (
        lambda: check(config, mend=True),
        lambda: backup.run(config, print, print, tmp_path / "backup", copy=True),
    ):
        with pytest.raises(ConfigurationError, match=OLDER):
            change()

    assert everything_in(older) == before
    with running(data, database=database_url) as server:
        assert len(server.stored()) == 2


def test_an_older_copy_that_is_all_there_is_is_used_as_the_error_says(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, older = used_since_copied(tmp_path, database_url)
    shutil.rmtree(data)
    config = settings_for_tests(older, database=database_url)
    with pytest.raises(ConfigurationError, match=OLDER) as refused:
        starts(config)

    status, lines = check(config)
    assert status == 1
    assert [line.split()[-1] for line in lines if line.startswith("missing")] == [
        "newer/honest.bin"
    ]
    found = re.search(r"write ([0-9a-f]{32}) to (.*)$", str(refused.value))
    assert found is not None
    Path(found[2]).write_text(found[1])
    starts(config)
    starts(config)
    told = [each.getMessage() for each in caplog.records if "older copy" in each.getMessage()]
    assert len(told) == 2
    assert told[0].startswith("acknowledged files that are not whole: 1; if")


def test_a_start_that_was_killed_between_directory_and_database_is_repeated(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_for_tests(tmp_path / "data", database=database_url)
    starts(config)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, closing(open_repository(database_url)) as repository:
        patch.setattr(type(repository), "begin_use", killed)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                starts(config)
    starts(config)
    starts(config)
    with closing(open_repository(database_url)) as repository:
        own, counted = (config.data / ID_FILE).read_text("ascii").split()
        assert repository.pairing() == (bytes.fromhex(own), int(counted)) == (bytes.fromhex(own), 6)


class Starting(FailingRepository):
    """A database that a server is started on whenever it is asked for its pairing."""

    def __init__(self, real: Repository, config: Config) -> None:
        super().__init__(real)
        self._config = config

    def pairing(self) -> tuple[bytes, int] | None:
        starts(self._config)
        told = super().pairing()
        starts(self._config)
        return told


def test_a_directory_whose_server_starts_at_this_moment_is_no_older_copy(
    tmp_path: Path, database_url: str
) -> None:
    config = settings_for_tests(tmp_path / "data", database=database_url)
    starts(config)
    with closing(open_repository(database_url)) as repository:
        refuse_older(Starting(repository, config), config.data)


def test_a_server_that_was_shut_out_acknowledges_nothing(tmp_path: Path, database_url: str) -> None:
    with (
        running(tmp_path / "data", registration="open", database=database_url) as server,
        closing(open_repository(database_url)) as other,
    ):
        peer = Peer4(server.port, "bob").open().introduce()
        peer.put("before", b"1")
        other.begin_use(1, 2)
        with pytest.raises(RefusedError):
            peer.put("after", b"2")
        assert [name for _, name in server.stored()] == ["before"]
        assert server.repository.taken_over
        peer.close()


def test_repair_is_refused_while_a_server_runs_on_another_copy(
    tmp_path: Path, database_url: str
) -> None:
    with running(tmp_path / "data", database=database_url) as server:
        copy = copied(server.data, tmp_path / "copy")
        with pytest.raises(DatabaseInUse):
            check(settings_for_tests(copy, database=database_url), mend=True)


def test_a_restore_into_a_database_that_a_server_uses_is_refused(
    tmp_path: Path, database_url: str
) -> None:
    source = settings_for_tests(tmp_path / "source")
    starts(source)
    backup.run(source, print, print, tmp_path / "backup", copy=True)
    to = settings_for_tests(tmp_path / "to", database=database_url)
    with running(tmp_path / "data", database=database_url) as server:
        with pytest.raises(RepositoryError, match=r"in use by another .*; nothing was restored$"):
            restore.run(to, print, print, tmp_path / "backup")
        serves_honest(server)


def goes_on_holding(url: str) -> bool:
    """Whether whoever holds the database asks it for something now and then."""
    patience = iter(range(10))
    with closing(open_repository(url)) as other, pytest.raises(DatabaseInUse):
        other.hold(lambda: next(patience, None) is None)
    return next(patience, None) is not None


def test_repair_goes_on_holding_the_database(
    tmp_path: Path, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mariadb.url(mariadb.new_database())
    config = settings_for_tests(tmp_path / "data", database=url)
    starts(config)
    seen: list[bool] = []
    monkeypatch.setattr(checking, "_mend", lambda *_: seen.append(goes_on_holding(url)))
    check(config, mend=True)
    assert seen == [True]


def test_a_restore_goes_on_holding_the_database(
    tmp_path: Path, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = settings_for_tests(tmp_path / "source")
    starts(source)
    backup.run(source, print, print, tmp_path / "backup", copy=True)
    url = mariadb.url(mariadb.new_database())
    to = settings_for_tests(tmp_path / "to", database=url)
    seen: list[bool] = []
    monkeypatch.setattr(restore, "adopt", lambda *_: seen.append(goes_on_holding(url)))
    assert restore.run(to, print, print, tmp_path / "backup") == 0
    assert seen == [True]


def test_a_server_that_another_one_shut_out_ends_and_says_so(
    tmp_path: Path, mariadb: MariaDB
) -> None:
    url = mariadb.url(mariadb.new_database())
    arguments = ("--data", "data", "--database", url, "--port", "0")
    with commands.serving(tmp_path, *arguments) as server:
        copied(tmp_path / "data", tmp_path / "copy")
        refused = commands.run(tmp_path, "--data", "copy", *arguments[2:])
        assert (refused.returncode, refused.stdout) == (1, "")
        (line,) = refused.stderr.splitlines()
        assert line.startswith("error: database ")
        assert "is in use by another server: stop that one" in line
        with closing(open_repository(url)) as other:
            other.begin_use(1, 2)
        assert server.process.wait(commands.SECONDS) == 1
    (told,) = [line for line in server.logged if "this one ends" in line]
    assert "another server has begun to use the database" in told


def test_a_server_that_waits_for_a_dead_one_can_be_stopped(
    tmp_path: Path, mariadb: MariaDB
) -> None:
    url = mariadb.url(mariadb.new_database())
    arguments = ("--data", "data", "--database", url, "--port", "0")
    with closing(open_repository(url)) as dead, ExitStack() as stack:
        dead.hold()
        starting = stack.enter_context(
            subprocess.Popen(
                commands.command(*arguments), cwd=tmp_path, env=commands.environment(), text=True,
                stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip
        assert starting.stderr is not None
        assert "asks nothing any more" in starting.stderr.readline()
        starting.send_signal(signal.SIGTERM)
        said, told = starting.communicate(timeout=commands.SECONDS)
    assert (starting.returncode, said) == (1, "")
    assert "is in use by another server" in told


def test_a_restart_of_the_database_ends_no_server_and_it_stays_held(
    tmp_path: Path, mariadb: MariaDB
) -> None:
    url = mariadb.url(mariadb.new_database())
    with running(tmp_path / "data", database=url) as server:
        mariadb.restart()
        serves_honest(server)
        server.repository.keep_hold()
        copy = copied(server.data, tmp_path / "copy")
        with pytest.raises(DatabaseInUse):
            starts(settings_for_tests(copy, database=url))
        assert not server.repository.taken_over


class Failing(FailingRepository):
    """A database whose hold cannot be kept, for a given reason each time, and then can."""

    def __init__(self, real: Repository, errors: list[ServerError]) -> None:
        super().__init__(real)
        self._errors = iter(errors)
        self.kept = 0

    def keep_hold(self) -> None:
        for error in self._errors:
            raise error
        self.kept += 1


def test_whatever_keeps_a_database_from_being_held_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [RepositoryUnavailable("away")] * 3 + [DatabaseInUse("in use")] * 3
    with closing(open_repository(f"sqlite:///{tmp_path / 'rows'}")) as real:
        repository = Failing(real, list(errors))
        with closing(Holding(repository, every_seconds=0.01)):
            until(lambda: repository.kept >= 2, "that it is held again")
    told = [each.getMessage() for each in caplog.records]
    assert [each.rpartition(": ")[2] for each in told] == ["away", "in use"]

"""Operator commands at a database of an older server: never migrated under a server that runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from server.config import Config
from server.inspection import open_existing
from server.repository import SchemaTooOld, open_repository
from server.repository.migrations import NEWEST_VERSION
from tests.server import commands
from tests.server.running import running

COMMANDS = [
    ["token", "create"],
    ["token", "list"],
    ["clients", "list"],
    ["clients", "disable", "alice"],
    ["files", "list"],
    ["audit"],
    ["check"],
    ["backup", "backup"],
]


def version(data: Path, *, aged: bool = False) -> int:
    """The version of the schema; `aged` takes it back to the one before the newest."""
    with closing(sqlite3.connect(data / "eft.sqlite3")) as database, database:
        if aged:
            database.execute("DELETE FROM schema_version WHERE version = ?", (NEWEST_VERSION,))
        ((found,),) = database.execute("SELECT MAX(version) FROM schema_version")
    return int(found)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_under_a_server_that_runs_a_command_refuses_to_migrate(
    tmp_path: Path, command: list[str]
) -> None:
    with running(tmp_path / "data"):
        assert version(tmp_path / "data", aged=True) == NEWEST_VERSION - 1
        finished = commands.run(tmp_path, "--data", "data", *command)

        assert version(tmp_path / "data") == NEWEST_VERSION - 1
    assert finished.returncode == (2 if command == ["check"] else 1)
    assert finished.stdout == ""
    assert finished.stderr == (
        f"error: the database has schema version {NEWEST_VERSION - 1}, this program needs"
        f" {NEWEST_VERSION}, and a server is running on it: stop that server, then start the one"
        " of this version or give the command again\n"
    )


@pytest.mark.parametrize("command", [["clients", "list"], ["check"], ["backup", "backup"]])
def test_without_a_server_a_command_migrates(tmp_path: Path, command: list[str]) -> None:
    with running(tmp_path / "data"):
        pass
    version(tmp_path / "data", aged=True)

    assert commands.run(tmp_path, "--data", "data", *command).stderr == ""
    assert version(tmp_path / "data") == NEWEST_VERSION


def test_where_no_lock_tells_whether_a_server_runs_nothing_is_migrated(
    tmp_path: Path, database_url: str
) -> None:
    config = Config(data=tmp_path / "elsewhere", database=database_url)
    if database_url.startswith("sqlite"):
        (tmp_path / "repository.db").touch()
    with pytest.raises(SchemaTooOld, match=r"cannot be told .*: start the server of this version"):
        open_existing(config)

    with pytest.raises(SchemaTooOld, match="version 0"):
        open_repository(database_url, upgrade=False)


def test_no_server_can_start_while_a_command_migrates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "data"):
        pass
    version(tmp_path / "data", aged=True)
    seen: list[str] = []

    def opened(url: str, *, upgrade: bool = True, **options: object) -> object:
        if upgrade:
            seen.append(commands.run(tmp_path, "--data", "data", "--port", "0").stderr)
        return open_repository(url, upgrade=upgrade, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("server.inspection.open_repository", opened)
    with closing(open_existing(Config(data=tmp_path / "data"))):
        assert len(seen) == 1
    assert "is in use by another server" in seen[0]

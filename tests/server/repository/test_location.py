"""URLs, option files and passwords: what is accepted, what is refused, what is never repeated."""

import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import ConfigurationError
from server.repository import mysql, open_repository
from server.repository.mysql_connections import Address


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The addresses that were opened, without a server behind them."""
    addresses: list[Address] = []
    monkeypatch.setattr(
        mysql, "MySQLRepository", lambda address, **_options: addresses.append(address)
    )
    return addresses


@pytest.fixture
def option_file(tmp_path: Path) -> Path:
    path = tmp_path / "my.cnf"
    path.touch(0o600)
    path.write_text(
        '[client]\nuser = carol\npassword = "s%e#cret"\nhost = elsewhere\nsocket = /x\n'
    )
    return path


def test_three_slashes_make_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_repository("sqlite:///some%20data/repository.db").close()
    assert (tmp_path / "some data" / "repository.db").is_file()


def test_four_slashes_make_an_absolute_path(tmp_path: Path) -> None:
    open_repository(f"sqlite:///{tmp_path}/repository.db").close()
    assert (tmp_path / "repository.db").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "repository.db",
        "postgresql://eft@localhost/eft",
        "sqlite:",
        "sqlite:///",
        "sqlite://repository.db",
        "sqlite:///repository.db?mode=ro",
        "sqlite:///repository.db#1",
        "mysql://eft@localhost",
        "mysql://eft@localhost/",
        "mysql://eft@localhost/a/b",
        "mysql:///eft",
        "mysql://localhost/eft",
        "mysql://eft@localhost:port/eft",
        "mysql://eft@localhost:99999/eft",
        "mysql://eft@[::1/eft",
        "mysql://eft@localhost/eft?ssl_disabled=1",
        "mysql://eft@localhost/eft?ssl_ca",
        "mysql://eft@localhost/eft?ssl_ca=/a&ssl_ca=/b",
        "mysql://eft@localhost/eft?ssl_ca=/a&unix_socket=/b",
        "mysql://eft@localhost/eft?option_file=/does/not/exist",
        "mysql://eft@localhost/eft?option_file=/does%0anot/exist",
        "sqlite:///repository%00.db",
        "mysql://eft@localhost/%00",
        "mysql://eft@localhost/%0a",
        "mysql://eft@localhost/%ff",
        "mysql://eft@local\udcffhost/eft",
        "mysql://eft@localhost/eft?unix_socket=/run%E2%80%A8/x",
    ],
)
def test_an_unusable_url_is_refused_in_one_line(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        open_repository(url)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "mysql://eft:hunter2@db/eft",
        "mysql://eft:hunter2@db:x/eft",
        "mysql://eft:hunter2#x@db/eft",
        "mysql://eft:hunter2/x@db/eft",
        "mysql://eft:hunter2?x@db/eft",
        "mysql://eft:12?hunter2=x@db/eft",
        "mysql://eft:12/x?hunter2=x@db/eft",
        "mysql://eft:\u2100hunter2@db/eft",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_repository(url)
    assert "hunter2" not in str(refused.value)


def test_the_refusal_of_a_password_says_where_it_belongs() -> None:
    with pytest.raises(ConfigurationError, match=r"EFT_DATABASE_PASSWORD or in a file"):
        open_repository("mysql://eft:@localhost/eft")


def test_a_mysql_url_gives_the_address(opened: list[Address]) -> None:
    open_repository("mysql://us%40er@db.example:3307/my%20db?ssl_ca=/ca.pem", password="pw")
    assert opened == [
        Address("db.example", 3307, "my db", "us@er", password="pw", ssl_ca="/ca.pem")
    ]


def test_port_and_password_may_be_left_out(opened: list[Address]) -> None:
    open_repository("mysql://eft@[::1]/eft?unix_socket=/run/db.sock")
    assert opened == [Address("::1", 3306, "eft", "eft", unix_socket="/run/db.sock")]


def test_an_option_file_gives_user_and_password_and_nothing_else(
    opened: list[Address], option_file: Path
) -> None:
    open_repository(f"mysql://db.example/eft?option_file={option_file}")
    assert opened == [Address("db.example", 3306, "eft", "carol", password="s%e#cret")]


def test_the_url_and_the_given_password_go_before_the_option_file(
    opened: list[Address], option_file: Path
) -> None:
    open_repository(f"mysql://dave@db/eft?option_file={option_file}", password="given")
    assert opened == [Address("db", 3306, "eft", "dave", password="given")]


@pytest.mark.usefixtures("opened")
def test_an_option_file_that_others_can_read_may_hold_no_password(option_file: Path) -> None:
    option_file.chmod(0o640)
    url = f"mysql://db/eft?option_file={option_file}"
    with pytest.raises(ConfigurationError, match=f"open to others: chmod 600 {option_file}"):
        open_repository(url)

    option_file.write_text("[client]\nuser = carol\n")
    open_repository(url)


def test_an_option_file_without_a_password_leaves_none(
    opened: list[Address], option_file: Path
) -> None:
    option_file.write_text("[client]\nuser = carol\n")
    open_repository(f"mysql://db/eft?option_file={option_file}")
    assert opened == [Address("db", 3306, "eft", "carol")]


def test_a_password_without_quotes_is_taken_as_it_is(
    opened: list[Address], option_file: Path
) -> None:
    option_file.write_text("[client]\nuser = carol\npassword = 12'\n")
    open_repository(f"mysql://db/eft?option_file={option_file}")
    assert opened == [Address("db", 3306, "eft", "carol", password="12'")]


@pytest.mark.parametrize("text", ["[connector_python]\nhunter2\n", "[client]\n= hunter2\n"])
def test_a_broken_option_file_is_refused_and_not_quoted(option_file: Path, text: str) -> None:
    option_file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        open_repository(f"mysql://eft@db/eft?option_file={option_file}")
    assert "hunter2" not in str(refused.value)


def test_an_address_does_not_show_its_password() -> None:
    address = Address("db", 3306, "eft", "eft", password="hunter2")
    assert "hunter2" not in f"{address} {address!r}"


@pytest.mark.parametrize(
    ("host", "unix_socket", "stays"),
    [
        ("localhost", None, True),
        ("127.0.0.1", None, True),
        ("127.8.8.8", None, True),
        ("::1", None, True),
        ("db.example", "/run/db.sock", True),
        ("db.example", None, False),
        ("localhost.example", None, False),
        ("10.0.0.1", None, False),
        ("0.0.0.0", None, False),  # noqa: S104 an address to connect to, not to bind
    ],
)
def test_only_a_socket_and_loopback_stay_on_this_machine(
    host: str, unix_socket: str | None, stays: bool
) -> None:
    address = Address(host, 3306, "eft", "eft", unix_socket=unix_socket)
    assert address.stays_on_this_machine is stays


def test_the_driver_is_not_loaded_for_sqlite(tmp_path: Path) -> None:
    program = (
        "import sys; from server.repository import open_repository\n"
        "open_repository(sys.argv[1]).close()\n"
        "assert not [name for name in sys.modules if name.startswith('mysql')]\n"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/repository.db"]
    assert subprocess.run(command, check=False).returncode == 0


def test_an_unknown_option_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match="option_file, ssl_ca, unix_socket may be given"):
        open_repository("mysql://eft@db/eft?ssl=1")
    with pytest.raises(ConfigurationError, match="none may be given"):
        open_repository("sqlite:///repository.db?mode=ro")


def test_a_missing_database_is_told_in_one_line() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_repository("sqlite:///no%0asuch/repository.db", create=False)
    assert len(str(refused.value).splitlines()) == 1


def test_a_database_that_must_exist_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "typo.sqlite3"
    with pytest.raises(ConfigurationError, match="there is no database"):
        open_repository(f"sqlite:///{path}", create=False)
    assert not path.exists()

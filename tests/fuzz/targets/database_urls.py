"""The database URL that an operator gives, and the option file that it may name."""

from collections.abc import Iterable
from pathlib import Path
from unittest import mock
from urllib.parse import quote

from server.errors import ConfigurationError
from server.repository import location, mysql, sqlite
from server.repository.mysql_connections import Address
from tests.fuzz import scratch
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must

_PASSWORD = "hunter2"
_URL, _WITH_PASSWORD, _OPTION_FILE = 0, 1, 2


class _Opened(Exception):
    """What would have been opened."""

    def __init__(self, place: Path | Address) -> None:
        super().__init__(place)
        self.place = place


def _open(place: Path | Address, *, upgrade: bool) -> None:
    must(upgrade, "a server brings its schema up to date")
    raise _Opened(place)


def _run(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.byte() % 3
    with (
        mock.patch.object(sqlite, "SqliteRepository", _open),
        mock.patch.object(mysql, "MySQLRepository", _open),
    ):
        if kind == _OPTION_FILE:
            _run_option_file(choices.rest())
        elif kind == _WITH_PASSWORD:
            password = f"{_text(choices.some())}{_PASSWORD}{_text(choices.some())}"
            _run_url(f"mysql://eft:{password}@{_text(choices.rest())}", secret=_PASSWORD)
        else:
            _run_url(_text(choices.rest()))


def _run_url(url: str, secret: str | None = None) -> None:
    # A file that the input names is not read: it may be a terminal, or have no end.
    with mock.patch.object(location, "_credentials", return_value=("carol", None)):
        place = _place(url, secret)
        if place is None:
            return
        if isinstance(place, Path):
            must("\0" not in str(place), "a path is one")
            must(_place(f"sqlite:///{_quoted(place)}") == place, "a path reads as it is written")
        else:
            _check_address(place)


def _run_option_file(content: bytes) -> None:
    if b"!include" in content:
        return  # the same: another file
    path = scratch.directory("option-file") / "my.cnf"
    path.write_bytes(content)
    path.chmod(0o600)  # as one with a password has to be
    place = _place(f"mysql://db/eft?option_file={path}")
    must(place is None or isinstance(place, Address), "the database is MySQL's")
    if isinstance(place, Address):
        where = (place.host, place.port, place.database, place.unix_socket, place.ssl_ca)
        must(where == ("db", 3306, "eft", None, None), "an option file does not say where")
        must(place.user, "there is a user")


def _place(url: str, secret: str | None = None) -> Path | Address | None:
    """Where the URL leads to; None when it is refused."""
    try:
        location.open_repository(url)
    except _Opened as opened:
        return opened.place
    except ConfigurationError as error:
        must(len(str(error).splitlines()) == 1, "an error is one line")
        must(secret is None or secret not in str(error), "an error shows no password")
        return None
    raise AssertionError("neither opened nor refused")


def _check_address(address: Address) -> None:
    must(1 <= address.port <= 65535, "a port is a port")
    must(address.host and address.database and address.user, "nothing is left to chance")
    for text in (address.host, address.database, address.user, address.unix_socket or ""):
        must(_can_be_sent(text), "what the driver gets can be sent")
    must(len(str(address).splitlines()) == 1, "a line of the log is one")
    must(_PASSWORD not in f"{address}{address!r}" or not address.password, "no password is shown")
    host = f"[{address.host}]" if ":" in address.host else address.host
    options = {"unix_socket": address.unix_socket, "ssl_ca": address.ssl_ca}
    query = "&".join(f"{key}={quote(value)}" for key, value in options.items() if value)
    url = f"mysql://{quote(address.user, safe='')}@{host}:{address.port}/{quote(address.database)}"
    must(_place(f"{url}?{query}") == address, "an address reads as it is written")


def _can_be_sent(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _text(data: bytes) -> str:
    """As from the command line: what is no UTF-8 arrives all the same."""
    return data.decode("utf-8", "surrogateescape")


def _quoted(path: Path) -> str:
    return "".join(f"%{ord(c):02X}" if c in "%#?[]\t\r\n" else c for c in str(path))


def _seeds() -> Iterable[bytes]:
    for url in (
        "sqlite:///eft.sqlite3",
        "sqlite:////srv/some%20data/%23.db?mode=ro",
        "sqlite:///a%00b",
        "mysql://us%40er@db.example:3307/my%20db?ssl_ca=/ca.pem",
        "mysql://eft@[fe80::1%25eth0]:0/eft?unix_socket=/run/db.sock",
        "mysql://db/eft?option_file=/etc/my.cnf&ssl_ca=%0a",
        "mysql://eft@b\u00fccher.example/%ff%c3%bc#x",
        "mysql://eft@[::1/eft",
    ):
        yield bytes((_URL,)) + url.encode()
    for before, after, rest in (
        (b"", b"", b"db/eft"),
        (b"12/x?", b"=3", b"db/eft?ssl_ca=/a"),
        (b"#", b"?", b"[::1]:x/eft"),
        (b"\xe2\x84\x80", b"@", b"db"),
    ):
        pieces = bytes((len(before),)) + before + bytes((len(after),)) + after
        yield bytes((_WITH_PASSWORD,)) + pieces + rest
    for content in (
        b'[client]\nuser = carol\npassword = "s%e#cret"\nsocket = /x\n',
        b"[connector_python]\nuser=dave\nport=1\nhost = other\n[client]\nuser\n",
        b"user = (1, [2])\n[mysqld]\n= x\n\xff",
    ):
        yield bytes((_OPTION_FILE,)) + content


TARGET = Target(
    "database_urls", "server/repository/location.py, and the driver's option files", _run, _seeds
)

"""From the URL that the operator gives to an open repository."""

import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from server.errors import ConfigurationError
from server.privatefiles import check_private
from server.repository.interface import Repository

_MYSQL_PORT = 3306
_QUERY_KEYS = frozenset({"unix_socket", "option_file", "ssl_ca"})
# Neither a host nor a name in MySQL has them; a line of the log would be two.
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FORMS = "sqlite:///<path> or mysql://<user>@<host>/<database>"


def open_repository(
    url: str, *, password: str | None = None, create: bool = True, upgrade: bool | None = True
) -> Repository:
    """Opens the repository at `url` and brings its schema up to date.

    `sqlite:///relative/path`, `sqlite:////absolute/path`, or
    `mysql://user@host[:port]/database[?unix_socket=...&option_file=...&ssl_ca=...]`, for MariaDB
    too. From an option file (`[client]` or `[connector_python]`) come the password and, where the
    URL has none, the user; the `password` given here goes first. Without `create` an SQLite file
    must be there already, without `upgrade` the schema must be the newest; None leaves it to the
    caller, who holds the database first.

    Raises `ConfigurationError` for an unusable URL or option file, `RepositoryUnavailable` when the
    database does not let us in, `SchemaTooNew` when a newer server has been there, `SchemaTooOld`
    when an older one has and there is to be no upgrade."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Nothing of the URL is repeated, here and below: a password with a '#' or '/' in it ends up
        # in the port, and logs are read by more people than it is meant for.
        raise ConfigurationError("host or port in the database URL cannot be read") from None
    if parts.password is not None:
        raise ConfigurationError(
            "the database URL contains a password: give it in EFT_DATABASE_PASSWORD or in a file"
        )
    if parts.fragment:
        raise ConfigurationError("the database URL has a '#' part: write '#' as %23")
    if "\0" in unquote(url):
        raise ConfigurationError("the database URL has a NUL in it, which no name has")
    match parts.scheme:
        case "sqlite":
            return _open_sqlite(parts, create=create, upgrade=upgrade)
        case "mysql":
            return _open_mysql(parts, port or _MYSQL_PORT, password, upgrade=upgrade)
        case _:
            raise ConfigurationError(f"the database URL is not of the form {_FORMS}")


def _open_sqlite(parts: SplitResult, *, create: bool, upgrade: bool | None) -> Repository:
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise ConfigurationError(
            "the database URL names no file: sqlite:///relative/path or sqlite:////absolute/path"
        )
    _query(parts, frozenset())
    if not create and not Path(path).exists():
        raise ConfigurationError(
            f"there is no database {_shown(path)}: give the server's --data or --database"
        )
    from server.repository.sqlite import SqliteRepository  # only the database in use is loaded

    return SqliteRepository(Path(path), upgrade=upgrade)


def _open_mysql(
    parts: SplitResult, port: int, password: str | None, *, upgrade: bool | None
) -> Repository:
    database = unquote(parts.path.removeprefix("/"))
    if not parts.hostname or not database or "/" in database:
        raise ConfigurationError(f"the database URL is not of the form {_FORMS}")
    if _NOT_TEXT.search(unquote(parts.geturl(), errors="surrogateescape")):
        raise ConfigurationError("the database URL has a character in it that is no text")
    options = _query(parts, _QUERY_KEYS)
    if "unix_socket" in options and "ssl_ca" in options:
        raise ConfigurationError("the database URL has ssl_ca, which a unix_socket does not use")
    user = unquote(parts.username or "")
    if "option_file" in options:
        file_user, file_password = _credentials(options["option_file"])
        user = user or file_user
        password = file_password if password is None else password
    if not user:
        raise ConfigurationError("neither the database URL nor an option file names a user")

    # The driver alone takes longer to load than the rest of the server.
    from server.repository.mysql import MySQLRepository
    from server.repository.mysql_connections import Address

    address = Address(
        host=parts.hostname,
        port=port,
        database=database,
        user=user,
        password=password or "",
        unix_socket=options.get("unix_socket"),
        ssl_ca=options.get("ssl_ca"),
    )
    return MySQLRepository(address, upgrade=upgrade)


def _query(parts: SplitResult, known: frozenset[str]) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if not known.issuperset(options):  # which may be the end of a password
        raise ConfigurationError(
            f"the database URL has an unknown option: {', '.join(sorted(known)) or 'none'} may be"
            " given"
        )
    if len(options) < len(pairs) or not all(options.values()):
        raise ConfigurationError("the database URL has an option twice or without a value")
    return options


def _credentials(option_file: str) -> tuple[str, str | None]:
    """User and password, and nothing else: a host or socket in the file would take the connection
    where the URL does not say, past the rules for encryption."""
    from configparser import Error as ParserError

    from mysql.connector.optionfiles import read_option_files

    try:
        options = read_option_files(option_files=[option_file])
    except ValueError as error:
        raise ConfigurationError(f"option file {option_file}: {_shown(str(error))}") from error
    except (AttributeError, ParserError):
        # These quote the line at fault, which may be the password's.
        raise ConfigurationError(
            f"option file {option_file} has a line that is no option of MySQL's"
        ) from None
    password = options.get("password")
    if password is not None:
        path = Path(option_file)
        check_private(path, path.stat(), f"option file {option_file}")
    return (
        str(options.get("user", "")),
        # The driver keeps the quotes that the command-line clients take off.
        None if password is None else _unquoted(str(password)),
    )


def _shown(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value

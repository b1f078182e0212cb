"""What the driver's errors mean: whether to repeat the transaction, what to tell the operator."""

import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import mysql.connector
from mysql.connector.errors import (
    DataError,
    OperationalError,
    ProgrammingError,
    ReadTimeoutError,
    WriteTimeoutError,
)

from server.repository.errors import RepositoryError, RepositoryUnavailable

DUPLICATE_KEY = frozenset({1062, 1586})

# Rolled back by the server, as if it had not been tried: deadlock (also at COMMIT on Galera),
# lock-wait timeout, statement interrupted by KILL QUERY.
_CONFLICT = frozenset({1205, 1213, 1317})

# The connection is gone or never came to be, and a later one may succeed.
_LOST = frozenset(
    {
        1040,  # too many connections
        1047,  # a Galera node that has not joined its cluster
        1053,  # server shutdown in progress
        1077,  # normal shutdown
        1079,  # shutdown complete
        1080,  # forced close
        1152,  # aborted connection
        1158,  # network: read error, and the three after it
        1159,
        1160,
        1161,
        1184,  # aborted connection, with its reason
        1927,  # killed (MariaDB)
        2002,  # no answer on the socket
        2003,  # no answer on the port
        2006,  # gone away
        2013,  # lost during a query
        2055,  # lost with a system error
        3024,  # the driver's read or write timeout
        3169,  # killed (MySQL)
        4031,  # idle for too long
    }
)

# The server, or our side of the handshake, said no; saying it again changes nothing.
_REFUSED = frozenset(
    {
        1044,  # no right to the database
        1045,  # wrong user or password
        1049,  # no such database
        1129,  # host blocked
        1130,  # host not allowed
        1203,  # account's connections used up, and the next
        1226,
        1251,  # authentication methods do not meet, and the next two
        1524,
        1698,
        2005,  # no such host
        2026,  # TLS
        2061,  # authentication plug-in
        3159,  # server insists on TLS
    }
)


# What the driver raises, past its own errors, where a packet or a connection ends in the middle.
_CUT_SHORT = (OSError, EOFError, IndexError, struct.error)

_UNKNOWN = 2000  # MySQL's number for an error of a client that has no other

# Numbers of errors that a client finds; all others are a server's.
_CLIENTS = range(2000, 3000)


class Failure(Enum):
    """What an error leaves to do."""

    CONFLICT = auto()  # repeat the transaction on the same connection
    LOST = auto()  # repeat it on a new connection; a commit may have succeeded
    REFUSED = auto()  # give up: the database is not there for us
    STATEMENT = auto()  # give up: the database is there and refuses what was asked


def failure(error: mysql.connector.Error) -> Failure:
    """Sorts a driver's error."""
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return Failure.REFUSED  # the driver reports it with the number of a lost connection
    if error.errno in _CONFLICT:
        return Failure.CONFLICT
    if error.errno in _LOST:
        return Failure.LOST
    if error.errno in _REFUSED:
        return Failure.REFUSED
    if error.errno == -1:  # the driver's own, without a number
        # "MySQL Connection not available" is the only operational one: the socket is closed.
        if isinstance(error, OperationalError):
            return Failure.LOST
        # The other two are about the statement or its parameters, which never left.
        ours = isinstance(error, ProgrammingError | DataError)
        return Failure.STATEMENT if ours else Failure.REFUSED
    return Failure.STATEMENT


def is_an_answer(error: mysql.connector.Error) -> bool:
    """Whether a server said it, whose next answer is then that to the next statement. After any
    other error, one that was not read may be on its way."""
    from_a_server = error.errno > 0 and error.errno not in _CLIENTS
    return from_a_server and failure(error) is not Failure.LOST


def translated(error: mysql.connector.Error, place: str) -> RepositoryError:
    """The package's error for a driver's, in one line that names the database and the cause."""
    if isinstance(error, ReadTimeoutError | WriteTimeoutError):
        cause = "no answer within the time limit"
    else:
        cause = " ".join(str(error.msg).split())
    if failure(error) is Failure.STATEMENT:
        number = f" ({error.errno})" if error.errno > 0 else ""
        return RepositoryError(f"database {place}: {cause}{number}")
    return RepositoryUnavailable(f"database {place}: {cause}")


@contextmanager
def driver_calls() -> Iterator[None]:
    """Around calls into the driver, so that whatever they raise is a `mysql.connector.Error`: for a
    lost connection, or for what is wrong with the call and would be again."""
    try:
        yield
    except mysql.connector.Error:
        raise
    except _CUT_SHORT as error:
        raise OperationalError(errno=2013, msg=f"lost connection ({error!r})") from error
    except (ValueError, ArithmeticError) as error:
        raise DataError(errno=_UNKNOWN, msg=f"the driver takes no such value: {error}") from error
    except Exception as error:  # the driver's or ours: whatever it is, it is not the connection
        raise ProgrammingError(errno=_UNKNOWN, msg=f"the driver failed: {error!r}") from error

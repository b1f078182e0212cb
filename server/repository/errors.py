"""What can go wrong between the server and its database."""

from server.errors import ServerError


class RepositoryError(ServerError):
    """The database did not do what was asked: the operator looks at the cause that it names."""


class RepositoryUnavailable(RepositoryError):
    """The database cannot be reached or refuses the connection, after the retries."""


class DatabaseFull(RepositoryError):
    """There is no room for what the database's file is to hold: the operator makes some."""


class DatabaseInUse(RepositoryError):
    """Another server uses the database: the operator stops one, or gives each its own."""


class SchemaTooNew(RepositoryError):
    """A newer server has migrated this database: run that version or restore a backup."""


class NotEmpty(RepositoryError):
    """The database is to be filled and holds rows already: the operator gives an empty one."""


class SchemaTooOld(RepositoryError):
    """An older server made this database, and may be running on it: the newer one is started."""


class TokenRefused(RepositoryError):
    """The token is unknown, used up, expired or for another name, and which of them nobody is
    told: the client asks the operator for another."""


class NameTaken(RepositoryError):
    """A client of this name is registered: the client chooses another name."""


class UnknownClient(RepositoryError):
    """The row refers to a client that does not exist."""

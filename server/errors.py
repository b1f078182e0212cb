"""Errors of the server; each class says who is to blame and what to do."""


class ServerError(Exception):
    """Base of everything that the server raises on purpose."""


class ConfigurationError(ServerError):
    """A flag, variable, file or directory that the operator gave is unusable."""


class StorageError(ServerError):
    """The file system refused to keep bytes (full, read-only, failing): the operator acts."""


class LimitReached(ServerError):
    """A limit that the operator set forbids it: the client sends less, or asks the operator."""


class Refused(ServerError):
    """The client may not do this now or in this way; the connection stays usable."""


class UndecipherableContent(Refused):
    """File content that does not decrypt: damaged on the way, or somebody is guessing."""

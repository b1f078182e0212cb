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


class TooLarge(LimitReached):
    """The file is larger than the operator allows."""


class QuotaReached(LimitReached):
    """The client has as many files or bytes as it may keep: it removes some first."""


class StorageFull(LimitReached):
    """The disk is full up to what is kept free: the client tries again later."""


class AccessDenied(ServerError):
    """Registration or proof failed. The text is for the log: the client is told nothing more."""


class TooManyAttempts(ServerError):
    """The address failed too often and is turned away for `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts, for {seconds} more seconds")
        self.seconds = seconds


class DataConnectionLost(ServerError):
    """The client no longer takes content on its data connection: it opens another one."""


class ShuttingDown(ServerError):
    """The server is being stopped: the client comes back when it runs again."""


class FileExists(ServerError):
    """The policy of the upload forbids replacing the file of this name."""


class FileNotThere(ServerError):
    """The client has no file of this name."""


class DigestMismatch(ServerError):
    """What was written is not what the client says that it read: the client begins anew."""


class UnknownUpload(ServerError):
    """No attempt at this upload is open on this connection: the client begins it again."""

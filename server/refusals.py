"""How failures are told to a protocol-4 client (section 8): one table from errors to answers."""

from protocol.errors import BadSegment, ProtocolError, UnsafeName
from protocol.messages4 import Reason, Refused
from server import errors
from server.errors import ServerError
from server.repository import NameTaken

Failure = ServerError | ProtocolError
"""What a request of protocol 4 may fail with."""

_RETRY_SECONDS = 30
_RESTART_SECONDS = 5

# The first entry that an error is an instance of counts: special ones stand before general ones.
_REASONS: tuple[tuple[type[Exception], Reason, int], ...] = (
    (UnsafeName, Reason.UNSAFE_NAME, 0),
    (BadSegment, Reason.BAD_SEGMENT, 0),
    (ProtocolError, Reason.PROTOCOL, 0),
    (errors.AccessDenied, Reason.ACCESS_DENIED, 0),
    (NameTaken, Reason.NAME_TAKEN, 0),
    (errors.FileExists, Reason.EXISTS, 0),
    (errors.FileNotThere, Reason.NOT_FOUND, 0),
    (errors.TooLarge, Reason.TOO_LARGE, 0),
    (errors.StorageFull, Reason.SERVER_FULL, _RETRY_SECONDS),
    (errors.LimitReached, Reason.QUOTA, 0),
    (errors.DigestMismatch, Reason.DIGEST_MISMATCH, 0),
    (errors.UnknownUpload, Reason.UNKNOWN_UPLOAD, 0),
    (errors.DataConnectionLost, Reason.SERVER_FAILED, 1),
    (errors.ShuttingDown, Reason.SHUTTING_DOWN, _RESTART_SECONDS),
)
# Why access was denied, and what failed in the server, is for the log and nobody else.
_SILENT = frozenset((Reason.ACCESS_DENIED, Reason.SERVER_FAILED))


def explain(error: Exception) -> Refused:
    """The refusal that a client gets for this error."""
    if isinstance(error, errors.TooManyAttempts):
        return Refused(Reason.TOO_MANY_ATTEMPTS, error.seconds, "too many failed attempts")
    for kind, reason, retry_after in _REASONS:
        if isinstance(error, kind):
            text = "" if reason in _SILENT else str(error)[:500]
            return Refused(reason, retry_after, text)
    return Refused(Reason.SERVER_FAILED, _RETRY_SECONDS, "")

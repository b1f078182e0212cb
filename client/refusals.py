"""From a refusal of the server (section 8 of docs/protocol-4.md) to the error that it means."""

from collections.abc import Mapping
from types import MappingProxyType

from client.errors import (
    AccessDenied,
    BrokenProtocol,
    ClientError,
    DigestMismatch,
    Exists,
    NameTaken,
    NotFound,
    QuotaExceeded,
    SegmentRefused,
    ServerBusy,
    ServerFull,
    TooLarge,
    TooManyAttempts,
    UnusableName,
    UploadForgotten,
)
from protocol.messages4 import Reason, Refused

_MEANINGS: Mapping[Reason, tuple[type[ClientError], str]] = MappingProxyType(
    {
        Reason.PROTOCOL: (BrokenProtocol, "the server takes this client's message for a mistake"),
        Reason.ACCESS_DENIED: (AccessDenied, "the server does not let this client in"),
        Reason.TOO_MANY_ATTEMPTS: (TooManyAttempts, "too many failures from this address"),
        Reason.NAME_TAKEN: (NameTaken, "the name is taken; choose another one"),
        Reason.UNSAFE_NAME: (UnusableName, "the server does not accept this name"),
        Reason.EXISTS: (Exists, "there is a file of this name, which is not to be replaced"),
        Reason.NOT_FOUND: (NotFound, "the server has no file of this name"),
        Reason.QUOTA: (QuotaExceeded, "this client may not store that much"),
        Reason.TOO_LARGE: (TooLarge, "the file is larger than the server accepts"),
        Reason.SERVER_FULL: (ServerFull, "the server has no room"),
        Reason.BAD_SEGMENT: (SegmentRefused, "a segment did not arrive as it was sent"),
        Reason.DIGEST_MISMATCH: (DigestMismatch, "what was stored differs from what was read"),
        Reason.UNKNOWN_UPLOAD: (UploadForgotten, "the server no longer knows this upload"),
        Reason.SERVER_FAILED: (ServerBusy, "the server's disk or database has failed"),
        Reason.SHUTTING_DOWN: (ServerBusy, "the server is shutting down"),
    }
)

# Of these the server's text says the same, and which file it is.
_TOLD_BY_NAME = frozenset({NotFound, Exists})


def refusal(refused: Refused) -> ClientError:
    """The error; where the server says that a retry is worth it, a `ServerBusy`."""
    kind, meaning = _MEANINGS[refused.reason]
    if kind is ServerFull and refused.retry_after:
        kind = ServerBusy
    if refused.text and kind in _TOLD_BY_NAME:
        text = _shown(refused.text)
    else:
        text = f"{meaning} ({_shown(refused.text)})" if refused.text else meaning
    if kind is TooManyAttempts and refused.retry_after:
        text += f"; try again in {refused.retry_after} s"
    error = kind(text)
    if isinstance(error, ServerBusy | TooManyAttempts):
        error.retry_after = float(refused.retry_after)
    return error


def _shown(text: str) -> str:
    """The server's text as a terminal may see it: no control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:500])

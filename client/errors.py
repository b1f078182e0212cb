"""What can go wrong in a run, who is to blame, and what the run's exit status then is."""

from enum import IntEnum
from typing import ClassVar, Self


class ExitStatus(IntEnum):
    """The exit statuses of `python -m client`; `meaning` is their text in `--help`."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    VERIFIED = 0, "every file was received, verified and acknowledged"
    FILE_FAILED = 1, "at least one file failed; the others were acknowledged"
    BAD_INPUT = 2, "the arguments, transfer.info, me.info or priv.key are unusable"
    NO_CONNECTION = 3, "the server could not be reached, or the connection was lost too often"
    REFUSED = 4, "the server refused to register this name, or refused this client"
    SERVER_FAULT = 5, "the server keeps answering with an error, or breaks the protocol"
    NOT_WRITTEN = 6, "no room or no leave to write: the identity, the output, fetched files"
    NOT_TRUSTED = 7, "the server is unknown, or is not the one that it was; nothing was sent"
    INTERRUPTED = 130, "interrupted from the keyboard"


class ClientError(Exception):
    """Anything that ends a run or one file of it; its text is one line for the user."""

    status: ClassVar[ExitStatus] = ExitStatus.FILE_FAILED


class BadInput(ClientError):
    """The user's: an argument or a line of transfer.info. Correct what the text names."""

    status = ExitStatus.BAD_INPUT

    def __init__(self, origin: str, cause: str, remedy: str) -> None:
        super().__init__(f"{origin}: {cause}; {remedy}")


class BadIdentity(BadInput):
    """The user's: me.info or priv.key is there and unusable. Restore it, or move it away."""


class NotWritten(ClientError):
    """The machine's: a file here or the output was not written. Make room or permit it."""

    status = ExitStatus.NOT_WRITTEN


class NoSuchHost(ClientError):
    """The user's, or the name service's: the host name has no address. Correct it."""

    status = ExitStatus.NO_CONNECTION


class ConnectionFailed(ClientError):
    """The network's or the server's: connecting anew, a little later, may help."""

    status = ExitStatus.NO_CONNECTION
    retry_after: float = 0.0
    """Seconds before which trying again is of no use."""


class CouldNotConnect(ConnectionFailed):
    """Nobody answered at the address, or it refused. Is the server running, the port right?"""


class ServerCrowded(ConnectionFailed):
    """The server's: it has no place for another connection, in all or from this address."""


class ConnectionLost(ConnectionFailed):
    """The connection ended while an answer was due."""


class ServerSilent(ConnectionLost):
    """The server neither took nor sent a byte for the whole timeout."""


class ServerHungUp(ConnectionLost):
    """The server answered a message with a general error and closed the connection."""


class RegistrationRefused(ClientError):
    """The user's, mostly: the name is taken. Choose another, or bring back its identity."""

    status = ExitStatus.REFUSED


class ServerFault(ClientError):
    """The server's: what it sent cannot be worked with. Tell its operator."""

    status = ExitStatus.SERVER_FAULT


class ServerKeepsFailing(ServerFault):
    """The server answered the same message with a general error until the client gave up."""


class BrokenProtocol(ServerFault):
    """The server sent what the protocol does not allow here. Is it the right server, or version?"""


class BadSessionKey(ServerFault):
    """The AES key sent by the server does not open, or is not one of this generation."""


class FileFailed(ClientError):
    """One file was not sent; the others are not affected."""

    status = ExitStatus.FILE_FAILED
    breaks_connection: ClassVar[bool] = False
    """Whether only a new connection can go on."""


class FileUnusable(FileFailed):
    """The user's: the file is missing, unreadable, too large, or its name cannot be sent."""


class FileChanged(FileFailed):
    """The user's: the file changed its size, or became unreadable, while it was being sent."""

    breaks_connection = True  # a message was left unfinished


class FileRefused(FileFailed):
    """The server's: it answered this file with a general error until the client gave up."""

    breaks_connection = True  # with such an answer a server may have hung up already


class ContentRejected(FileFailed):
    """The network's or the server's: what arrived differed, each of the four times it was sent."""


class NotTrusted(ClientError):
    """Nobody's, or an attacker's: this may not be the server that is meant. Nothing was sent."""

    status = ExitStatus.NOT_TRUSTED


class UnknownServer(NotTrusted):
    """The user's to decide: compare the fingerprint with the one that the operator tells."""

    def __init__(self, text: str, fingerprint: str) -> None:
        super().__init__(text)
        self.fingerprint = fingerprint
        """As the server presented it."""


class ServerChanged(NotTrusted):
    """The server's operator's, or an attacker's: not the certificate that is known. Ask first."""

    BY_AUTHORITY: ClassVar[str] = "CA"

    def __init__(self, text: str, known: str, presented: str) -> None:
        super().__init__(text)
        self.known = known
        """The fingerprint that is stored; `BY_AUTHORITY` where an authority vouched for it."""
        self.presented = presented
        """The fingerprint that the server shows now."""


class WrongFingerprint(NotTrusted):
    """The user's, or an attacker's: the server does not have the fingerprint that was asked for."""


class BadState(BadInput):
    """The user's: a file in which this client keeps what it knows is unusable. Correct it."""


class NotRegistered(BadInput):
    """The user's: this client has no identity at this server yet. Register first."""


class AlreadyRegistered(BadInput):
    """The user's: there is an identity for this server. Use it, or move it away."""


class NameTaken(RegistrationRefused):
    """The user's: another client has this name. Choose another one."""


class AccessDenied(ClientError):
    """The user's or the operator's: no good token, or a client that the server does not let in."""

    status = ExitStatus.REFUSED


class ChallengeNotOpened(AccessDenied):
    """The operator's or an attacker's: the server's challenge is not for this client and server.

    The client was removed, disabled or replaced there, or somebody in the middle relays what the
    real server sends.
    """


class TooManyAttempts(AccessDenied):
    """The user's: too many failures from this address. Wait `retry_after` seconds."""

    retry_after: float = 0.0


class ServerBusy(ConnectionFailed):
    """The server's or its operator's: disk, database, or a shutdown. Trying again may help."""

    status = ExitStatus.SERVER_FAULT


class SegmentRefused(ConnectionFailed):
    """The network's or the server's: a segment did not verify. It is sent again when resumed."""

    status = ExitStatus.SERVER_FAULT


class UploadForgotten(ConnectionFailed):
    """The server's: it no longer knows an upload that was begun. It is begun again."""

    status = ExitStatus.SERVER_FAULT


class DigestMismatch(FileFailed):
    """The machine's or the server's: what was stored is not what was read; it was discarded."""


class UnusableName(FileFailed):
    """The user's: a file name that cannot be stored on a server. Choose another one."""


class Exists(FileFailed):
    """The user's to decide: the policy does not allow replacing the file of this name."""


class NotFound(FileFailed):
    """The user's: the server has no file of this name."""


class QuotaExceeded(FileFailed):
    """The user's or the operator's: this client may store no more. Make room, or ask."""


class TooLarge(FileFailed):
    """The user's or the operator's: the file is larger than the server accepts."""


class ServerFull(FileFailed):
    """The operator's: no disk space, or too many unfinished uploads."""


class StreamLost(FileFailed):
    """The network's: the connection broke and the input cannot be read again. Send it again."""


class ContentTampered(ServerFault):
    """The server's or an attacker's: downloaded content does not verify. Nothing of it is used."""


class BadReceipt(ServerFault):
    """The server's: a receipt that is not signed by its key, or is about something else."""

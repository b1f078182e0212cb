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
    REFUSED = 4, "the server refused to register this name"
    SERVER_FAULT = 5, "the server keeps answering with an error, or breaks the protocol"
    NOT_WRITTEN = 6, "the identity or the output could not be written"
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
    """The machine's: me.info, priv.key or the output was not written. Make room or permit it."""

    status = ExitStatus.NOT_WRITTEN


class NoSuchHost(ClientError):
    """The user's, or the name service's: the host name has no address. Correct it."""

    status = ExitStatus.NO_CONNECTION


class ConnectionFailed(ClientError):
    """The network's or the server's: connecting anew, a little later, may help."""

    status = ExitStatus.NO_CONNECTION


class CouldNotConnect(ConnectionFailed):
    """Nobody answered at the address, or it refused. Is the server running, the port right?"""


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
    """The server sent what protocol 3 does not allow here. Is the generation right?"""


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

"""Names on the server, as people write them."""

from collections.abc import Iterator
from contextlib import suppress

from client.commands.output import printable
from client.commands.remote import Remote
from client.errors import BadInput, FileFailed, NotFound
from protocol.errors import UnsafeName
from protocol.names import check_path
from protocol.responses4 import Entry


def checked_name(text: str, origin: str) -> str:
    """The name; raises `BadInput` when no file can have it."""
    try:
        check_path(text)
    except UnsafeName as error:
        if text.strip("/") and text.endswith("/"):
            remedy = "name a file, or give --recursive where there is such an option"
            raise BadInput(origin, f"{text!r} is a directory", remedy) from error
        raise BadInput(origin, str(error), "names are relative paths such as dir/file") from error
    return text


def told_of_directory(remote: Remote, name: str, error: FileFailed, remedy: str) -> FileFailed:
    """The error, or where it is a directory that was taken for a file, one that says so."""
    if isinstance(error, NotFound) and next(iter(remote.list(f"{name}/")), None) is not None:
        return NotFound(f"{name!r} is a directory; {remedy}")
    return error


def checked_prefix(text: str, origin: str) -> str:
    """A directory on the server as the beginning of names: `a/b` and `a/b/` give `a/b/`, `/` gives
    the empty one, which all names have.

    Raises `BadInput` when no name begins so, and for the empty text: in a script it comes from a
    variable that was not set, and must not mean everything.
    """
    if text == "/":
        return ""
    return checked_name(text.removesuffix("/"), origin) + "/"


def files_of(remote: Remote, name: str) -> Iterator[Entry]:
    """The file of this name, if any, and those below the directory of this name: there may be both.

    Only those below where a slash ends the name.
    """
    if not name.endswith("/"):
        with suppress(NotFound):
            yield remote.stat(name)
    yield from remote.list(checked_prefix(name, "NAME"))


def no_such(name: str) -> NotFound:
    """The error where `files_of` gives nothing."""
    return NotFound(f"{printable(name)!r}: no such file or directory")

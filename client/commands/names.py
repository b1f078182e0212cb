"""Names on the server, as people write them."""

from client.errors import BadInput
from protocol.errors import UnsafeName
from protocol.names import check_path


def checked_name(text: str, origin: str) -> str:
    """The name; raises `BadInput` when no file can have it."""
    try:
        check_path(text)
    except UnsafeName as error:
        raise BadInput(origin, str(error), "names are relative paths such as dir/file") from error
    return text


def checked_prefix(text: str, origin: str) -> str:
    """A directory on the server as the beginning of names: `a/b` and `a/b/` give `a/b/`, `/` gives
    the empty one, which all names have.

    Raises `BadInput` when no name begins so, and for the empty text: in a script it comes from a
    variable that was not set, and must not mean everything.
    """
    if text == "/":
        return ""
    return checked_name(text.removesuffix("/"), origin) + "/"

"""Fixed-width text fields, and the rules for the names that they carry."""

import unicodedata

from protocol.errors import ProtocolError, UnsafeName

NAME_BYTES = 255
PATH_BYTES = 1024
"""The longest file name of protocol 4; each of its components has at most `NAME_BYTES`."""

_MOST_CHARACTER_BYTES = 4
_SEPARATORS = frozenset('/\\:*?"<>|')
_CONTROL_CATEGORIES = frozenset(("Cc", "Zl", "Zp"))
# Bidirectional overrides and isolates make a name look like another one in a listing.
_BIDIRECTIONAL_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_SUPERSCRIPT_DIGITS = "\u00b9\u00b2\u00b3"  # Windows takes COM¹ for COM1
_DEVICES = frozenset(("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$")).union(
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789" + _SUPERSCRIPT_DIGITS
)


def pack_name(name: str) -> bytes:
    """A name as its 255-byte field: UTF-8, zero-filled.

    A name of exactly 255 bytes fills the field without a terminator. Raises `ProtocolError` when
    the name is longer, contains NUL or a surrogate that stands for no byte: the field cannot carry
    them.
    """
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ProtocolError(f"the name {name!r} is not UTF-8") from error
    if len(encoded) > NAME_BYTES or b"\0" in encoded:
        raise ProtocolError(f"the name {name!r} does not fit a field of {NAME_BYTES} bytes")
    return encoded.ljust(NAME_BYTES, b"\0")


def unpack_name(field: bytes) -> str:
    """The name in a 255-byte field, up to the first NUL or, where there is none, the field's end.

    Bytes that are not UTF-8 are kept as lone surrogates (PEP 383), so that `pack_name` gives them
    back unchanged and `check_client_name` and `check_file_name` refuse them.
    """
    if len(field) != NAME_BYTES:
        raise ProtocolError(f"name field of {len(field)} bytes where {NAME_BYTES} are expected")
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def check_client_name(name: str) -> None:
    """Raises `UnsafeName` unless the name is UTF-8 text of 1 to 255 bytes that prints plainly."""
    _check_text(name)
    if name != name.strip():
        raise UnsafeName(f"the name {name!r} begins or ends with white space")


def check_file_name(name: str) -> None:
    """Raises `UnsafeName` unless the name is one plain file name on every common system.

    Refused: what `check_client_name` refuses, path separators and other characters that Windows
    reserves, `.` and `..` and any other final dot (Windows drops it), and device names.
    """
    check_client_name(name)
    unsafe = _SEPARATORS.intersection(name)
    if unsafe:
        raise UnsafeName(f"the file name {name!r} contains {min(unsafe)!r}")
    if name[-1] == ".":
        raise UnsafeName(f"the file name {name!r} ends with a dot")
    if name.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise UnsafeName(f"the file name {name!r} is a device's name on Windows")


def check_path(name: str) -> None:
    """Raises `UnsafeName` unless this is a file name of protocol 4 (section 5.1).

    Such a name is 1 to 1,024 bytes of UTF-8: components between slashes, 1 to 255 bytes each, none
    of them `.` or `..`, without control characters. It may still hold what one system or another
    gives a meaning (`\\`, `:`, `CON`): who makes it a path there has to see to that.
    """
    _check_text(name, PATH_BYTES)
    long = len(name) * _MOST_CHARACTER_BYTES > NAME_BYTES
    for component in name.split("/"):
        if component in ("", ".", ".."):
            raise UnsafeName(f"the name {name!r} has the component {component!r}")
        if long and len(component.encode("utf-8")) > NAME_BYTES:
            raise UnsafeName(f"the name {name!r} has a component of more than {NAME_BYTES} bytes")


def _check_text(name: str, most_bytes: int = NAME_BYTES) -> None:
    if not name:
        raise UnsafeName("the name is empty")
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UnsafeName(f"the name {name!r} is not UTF-8") from error
    if size > most_bytes:
        raise UnsafeName(f"the name is {size} bytes long, {most_bytes} are allowed")
    if name.isprintable():  # nothing that is refused below is: the usual name ends here
        return
    for character in name:
        if (
            unicodedata.category(character) in _CONTROL_CATEGORIES
            or character in _BIDIRECTIONAL_CONTROLS
        ):
            raise UnsafeName(f"the name {name!r} contains the control character {character!r}")

"""Name fields, and which names are safe."""

import unicodedata
from collections.abc import Iterable
from posixpath import normpath

from protocol.errors import ProtocolError, UnsafeName
from protocol.names import (
    check_client_name,
    check_file_name,
    check_path,
    pack_name,
    unpack_name,
)
from tests.fuzz.target import Target, must


def _accepts(check: object, name: str) -> bool:
    try:
        check(name)  # type: ignore[operator] # one of the checks
    except UnsafeName:
        return False
    return True


def _check_plain(name: str) -> None:
    must(name.encode(), "an accepted name is UTF-8 and not empty")
    categories = {unicodedata.category(character) for character in name}
    must(not categories & {"Cc", "Cs", "Zl", "Zp"}, "an accepted name has no control characters")
    must("\u202e" not in name, "an accepted name does not turn a line around")


def _check_names(name: str) -> None:
    if _accepts(check_client_name, name):
        _check_plain(name)
        must(len(name.encode()) <= 255, "a client name has at most 255 bytes")
    if _accepts(check_file_name, name):
        _check_plain(name)
        must(_accepts(check_client_name, name), "a file name passes as a client's name")
        must(not set("/\\:\0") & set(name), "a file name has no separators")
        must(normpath(f"/root/{name}") == f"/root/{name}", "a file name stays in its directory")
    if _accepts(check_path, name):
        _check_plain(name)
        must(len(name.encode()) <= 1024, "a path has at most 1,024 bytes")
        must(normpath(f"/root/{name}") == f"/root/{name}", "a path stays below its root")


def _run(data: bytes) -> None:
    field = data[:255].ljust(255, b"\0")
    name = unpack_name(field)
    packed = pack_name(name)
    must(packed == field.partition(b"\0")[0].ljust(255, b"\0"), "a name's bytes are kept")
    must(unpack_name(packed) == name, "a name that is packed reads as itself")
    _check_names(name)
    text = data.decode("utf-8", "surrogateescape" if data[:1] == b"\xed" else "replace")
    _check_names(text)
    try:
        again = unpack_name(pack_name(text))
    except ProtocolError:
        return
    escaped = any("\udc80" <= character <= "\udcff" for character in text)
    must(again == text or escaped, "text that fits its field reads as itself")


def _seeds() -> Iterable[bytes]:
    for name in ("a", "docs/a.txt", "..", "a/../b", "CON", "COM\u00b9.txt", "a\\b", "x" * 255,
                 "\u00e9/\u202e", "a/" * 511 + "b", "/etc/passwd", "a\0b", "a.", " a"):  # fmt: skip
        yield name.encode()
    yield b"\xff\xfe"
    yield b"\xed\xb0\x80"


TARGET = Target("names", "protocol/names.py", _run, _seeds, max_bytes=1200)

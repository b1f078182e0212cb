"""The tables in *put* and *outcomes*: many small files in one message (section 5.2).

Both are read and written in one pass, a few Python steps for each file: at ten thousand files in a
second a field that is an object of its own would be most of the work.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from protocol.contexts import SMALL_FILE_BYTES, TAG_BYTES, UPLOAD_ID_BYTES
from protocol.errors import ProtocolError
from protocol.fields import Buffer, Reader
from protocol.requests4 import MODE, NAME, Policy
from protocol.responses4 import Refused, Stored

MOST_SMALL_FILES = 256
"""The most files that one *put* carries."""
MOST_TABLE_BYTES = 65_535

_FIXED = struct.Struct(f"<{UPLOAD_ID_BYTES}sIqHB32sH")
_POLICIES = {int(policy): policy for policy in Policy}
_MODES = range(0o7777 + 1)
_STORED, _BEFORE, _REFUSED = b"\0", b"\1", b"\2"
_SIZE = struct.Struct("<H")


class SmallFile(NamedTuple):
    """One file of a *put*: `size` in bytes, `modified` in nanoseconds since 1970 UTC."""

    upload_id: bytes
    size: int
    modified: int
    mode: int
    policy: Policy
    sha256: bytes
    name: str


Outcome = None | Stored | Refused
"""What became of one file: stored now, stored before with this receipt, or refused."""


def pack_file(file: SmallFile) -> bytes:
    """A file's part of the table; raises `ProtocolError` when a field is outside its limits."""
    upload_id, size, modified, mode, policy, sha256, name = file
    encoded = NAME.write(name)
    if len(upload_id) != UPLOAD_ID_BYTES or len(sha256) != 32 or not 0 <= size <= SMALL_FILE_BYTES:
        raise ProtocolError(f"no small file: {file!r}")
    MODE.write(mode)
    try:
        fixed = _FIXED.pack(upload_id, size, modified, mode, policy, sha256, len(encoded) - 2)
    except struct.error as error:
        raise ProtocolError(f"a time of {modified} ns does not fit its field") from error
    return fixed + encoded[2:]


def unpack_files(table: bytes) -> list[SmallFile]:
    """The files of a table, 1 to `MOST_SMALL_FILES`; raises `ProtocolError`.

    Names are text, and not checked further.
    """
    files: list[SmallFile] = []
    at, end = 0, len(table)
    try:
        while at < end:
            upload_id, size, modified, mode, policy, sha256, length = _FIXED.unpack_from(table, at)
            at += _FIXED.size
            encoded = table[at : at + length]
            at += length
            if size > SMALL_FILE_BYTES or mode not in _MODES or b"\0" in encoded:
                raise ProtocolError(f"file {len(files)} has a field outside its limits")
            files.append(
                SmallFile(
                    upload_id, size, modified, mode, _POLICIES[policy], sha256, encoded.decode()
                )
            )
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise ProtocolError(f"file {len(files)}: {error!r}") from error
    if at != end or not 0 < len(files) <= MOST_SMALL_FILES:
        raise ProtocolError(f"{len(files)} small files in a table of {end} bytes")
    return files


def sealed_bytes(files: Iterable[SmallFile]) -> int:
    """The size of the sealed content of these files together."""
    return sum(file.size for file in files) + TAG_BYTES


def pack_outcomes(outcomes: Iterable[Outcome]) -> bytes:
    """The table of outcomes; raises `ProtocolError` when a field is outside its limits."""
    parts: list[bytes] = []
    for outcome in outcomes:
        if outcome is None:
            parts.append(_STORED)
        elif isinstance(outcome, Stored):
            packed = outcome.pack()
            parts += (_BEFORE, _SIZE.pack(len(packed)), packed)
        else:
            parts += (_REFUSED, outcome.pack())
    return b"".join(parts)


def unpack_outcomes(table: Buffer, count: int) -> Sequence[Outcome]:
    """The outcomes of `count` files, exactly; raises `ProtocolError`.

    A refusal that closes the connection is not about one file, and none of them.
    """
    if bytes(table) == bytes(count):  # the usual case: all are stored
        return [None] * count
    reader = Reader(table)
    outcomes = [_read_outcome(reader) for _ in range(count)]
    if reader.left:
        raise ProtocolError(f"{reader.left} bytes behind the outcomes of {count} files")
    return outcomes


def _read_outcome(reader: Reader) -> Outcome:
    kind = bytes(reader.take(1))
    if kind == _STORED:
        return None
    if kind == _BEFORE:
        (size,) = _SIZE.unpack(reader.take(_SIZE.size))
        return Stored.unpack(reader.take(size))
    if kind != _REFUSED:
        raise ProtocolError(f"an outcome of kind {kind!r}")
    refused = Refused.read(reader)
    if refused.reason.closes:
        raise ProtocolError(f"one file is refused for {refused.reason.name}")
    return refused

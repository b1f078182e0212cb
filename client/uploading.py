"""One attempt at an upload, from *begin* to a checked receipt."""

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from client.errors import BadReceipt, DigestMismatch
from client.reading import Content, segments
from client.receipts import Receipt
from client.session4 import Access, Session4, new_salt
from protocol.contexts import SEGMENT_BYTES, Direction
from protocol.messages4 import Begin, End, Policy, Segment, Stored

Progress = Callable[[int, int | None], None]
"""Told of the bytes that are done with, and of how many there are, None when that is unknown."""


class Upload(NamedTuple):
    """One version of one file under the id that it keeps across interruptions."""

    upload_id: bytes
    name: str
    policy: Policy
    modified: int
    mode: int


def send(
    session: Session4,
    access: Access,
    upload: Upload,
    content: Content,
    *,
    progress: Progress,
    resumed: Callable[[int], None],
) -> Receipt:
    """Sends what the server has not got; `resumed` is told where it goes on.

    Raises what `Session4` raises, `BadReceipt`, and what reading the content raises.
    """
    salt = new_salt()
    begun = session.begin(
        Begin(
            upload.upload_id,
            salt,
            content.size,
            upload.modified,
            upload.mode,
            upload.policy,
            upload.name,
        )
    )
    if isinstance(begun, Stored):
        return _receipt_again(access, begun, upload, content)
    resumed(begun)
    progress(begun, content.size)
    key = access.content_key(salt, Direction.TO_SERVER, upload.upload_id)
    end = begun
    with closing(segments(content, begun)) as plain_segments:
        for plain in plain_segments:
            sealed = key.seal(plain.buffer, plain.size, plain.index, final=plain.final)
            session.segment(Segment(upload.upload_id, plain.index, plain.final, sealed))
            end = plain.index * SEGMENT_BYTES + plain.size
            progress(end, content.size)
    sha256 = content.sha256()
    stored = session.end(End(upload.upload_id, end, sha256))
    return access.signer.check(stored, upload.upload_id, upload.name, end, sha256)


def _receipt_again(access: Access, stored: Stored, upload: Upload, content: Content) -> Receipt:
    """The receipt of an upload that had been completed, held against what is there to send now."""
    size = content.finish()
    try:
        return access.signer.check(stored, upload.upload_id, upload.name, size, content.sha256())
    except BadReceipt as error:
        # Same size, same time, other content: another version, which needs an id of its own.
        raise DigestMismatch(f"{upload.name!r} was stored with another content before") from error

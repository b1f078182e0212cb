"""Steps that tests of data connections have in common."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.data import DataConnection
from tests.peer4.serving import Serving, until
from tests.peer4.wire import Receipt
from tests.server.hostile_segments import BIG
from tests.server.running import Running


@contextmanager
def attached(server: Serving, name: str = "alice") -> Iterator[tuple[Peer4, DataConnection]]:
    """A client and its data connection."""
    with server.peer(name) as peer:
        peer.introduce()
        with peer.attach() as data:
            yield peer, data


def begun(peer: Peer4, name: str = "f", size: int | None = len(BIG)) -> tuple[bytes, bytes]:
    """A new upload: its id and the salt of this attempt."""
    upload_id, salt = os.urandom(16), os.urandom(32)
    assert peer.begin(upload_id, salt, name, size) == 0
    return upload_id, salt


def segments(peer: Peer4, upload_id: bytes, salt: bytes, content: bytes = BIG) -> list[bytes]:
    """The messages that carry a content."""
    key = peer.key_of(upload_id, salt)
    return [
        wire.message(
            wire.SEGMENT_CODE,
            upload_id + struct.pack("<QB", index, final)
            + wire.seal(key, upload_id, index, plain, final=final),
        )
        for index, final, plain in wire.pieces(content)
    ]  # fmt: skip


def end(peer: Peer4, upload_id: bytes, content: bytes = BIG) -> Receipt:
    """Ends an upload."""
    return peer.end(upload_id, len(content), wire.digest(content))


def ended_connections(server: Serving | Running, left: int = 0) -> None:
    """Waits until the server has only so many connections."""
    until(lambda: len(server.listener._places) == left, f"all but {left} connections have ended")


def stored_by(peer: Peer4, data: DataConnection | None, name: str = "after") -> None:
    """A file goes there and back."""
    assert peer.upload(name, BIG, data=data).sha256 == wire.digest(BIG)
    assert peer.get(name, data=data)[1] == BIG


def staged(server: Serving) -> int:
    """How many bytes are in staging."""
    return sum(path.stat().st_size for path in server.staged())

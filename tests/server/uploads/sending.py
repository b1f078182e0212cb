"""Clients and the uploads that they have begun."""

import os

from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.serving import Serving, until
from tests.server.hostile_segments import BIG


def introduced(server: Serving, name: str = "alice") -> Peer4:
    return server.peer(name).open().introduce()


def started(peer: Peer4, content: bytes = BIG, segments: int = 2, name: str = "f") -> bytes:
    """An upload of which so many segments were sent; its id."""
    upload_id, salt = os.urandom(16), os.urandom(32)
    assert peer.begin(upload_id, salt, name, len(content)) == 0
    key = peer.key_of(upload_id, salt)
    for index, final, plain in wire.pieces(content)[:segments]:
        sealed = wire.seal(key, upload_id, index, plain, final=final)
        peer.segment(upload_id, index, sealed, final=final)
    return upload_id


def wait_for_staged(server: Serving, size: int) -> None:
    until(lambda: sum(path.stat().st_size for path in server.staged()) == size, "it is staged")


def sealed_put(peer: Peer4, name: str) -> bytes:
    """The message that puts a small file."""
    return wire.message(wire.PUT, peer.put_payload([wire.Small(name, b"x", os.urandom(16))]))

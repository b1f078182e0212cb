"""Segments that are not the ones due, for tests of every connection that segments travel on."""

import os
import random
from collections.abc import Callable

from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.stream import MessageStream
from tests.peer4.wire import SEGMENT

BIG = random.Random(4).randbytes(3 * SEGMENT + 5)
Spoiling = Callable[[MessageStream, Peer4, bytes, bytes], None]
"""Sends on the first the segments of an upload of the second; its upload id and salt."""


def bad_segments() -> dict[str, Spoiling]:  # noqa: C901 - a list of small functions
    """What may happen to the segments of an upload of `BIG` on its way; each calls for
    *bad segment*. "After the final" needs an upload of unknown size."""
    pieces = wire.pieces(BIG)

    def all_of(peer: Peer4, uid: bytes, salt: bytes) -> list[bytes]:
        key = peer.key_of(uid, salt)
        return [wire.seal(key, uid, i, plain, final=final) for i, final, plain in pieces]

    def order(*indexes: int) -> Spoiling:
        def send(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
            sealed = all_of(peer, uid, salt)
            for index in indexes:
                line.segment(uid, index, sealed[index], final=index == 3)

        return send

    def flip(at: int) -> Spoiling:
        def send(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
            sealed = bytearray(all_of(peer, uid, salt)[0])
            sealed[at] ^= 1
            line.segment(uid, 0, bytes(sealed), final=False)

        return send

    def renumbered(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        line.segment(uid, 0, all_of(peer, uid, salt)[1], final=False)

    def made_final(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        line.segment(uid, 0, all_of(peer, uid, salt)[0], final=True)

    def made_middle(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        sealed = wire.seal(peer.key_of(uid, salt), uid, 0, pieces[0][2], final=True)
        line.segment(uid, 0, sealed, final=False)

    def other_upload(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        line.segment(uid, 0, all_of(peer, os.urandom(16), salt)[0], final=False)

    def other_salt(line: MessageStream, peer: Peer4, uid: bytes, _salt: bytes) -> None:
        line.segment(uid, 0, all_of(peer, uid, os.urandom(32))[0], final=False)

    def other_direction(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        key = peer.key_of(uid, salt, wire.TO_CLIENT)
        line.segment(uid, 0, wire.seal(key, uid, 0, pieces[0][2], final=False), final=False)

    def other_connection(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        with peer.again() as other:
            sealed = all_of(other, uid, salt)[0]
        line.segment(uid, 0, sealed, final=False)

    def short(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        plain = pieces[0][2][:-1]
        sealed = wire.seal(peer.key_of(uid, salt), uid, 0, plain, final=False)
        line.segment(uid, 0, sealed, final=False)

    def empty_second(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        key = peer.key_of(uid, salt)
        line.segment(uid, 0, all_of(peer, uid, salt)[0], final=False)
        line.segment(uid, 1, wire.seal(key, uid, 1, b"", final=True), final=True)

    def beyond(line: MessageStream, _peer: Peer4, uid: bytes, _salt: bytes) -> None:
        line.segment(uid, 2**43, bytes(SEGMENT + 16), final=False)

    def after_the_final(line: MessageStream, peer: Peer4, uid: bytes, salt: bytes) -> None:
        order(0, 1, 2, 3)(line, peer, uid, salt)
        sealed = wire.seal(peer.key_of(uid, salt), uid, 4, b"more", final=True)
        line.segment(uid, 4, sealed, final=True)

    return {
        "swapped": order(1, 0),
        "dropped": order(0, 2),
        "repeated": order(0, 0),
        "final repeated": order(0, 1, 2, 3, 3),
        "bit of content": flip(5),
        "bit of tag": flip(-1),
        **{call.__name__: call for call in (
            renumbered, made_final, made_middle, other_upload, other_salt, other_direction,
            other_connection, short, empty_second, beyond, after_the_final,
        )},
    }  # fmt: skip

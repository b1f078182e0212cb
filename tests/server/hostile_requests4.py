"""One good request of every kind, for tests that cut, alter or misplace them."""

import os
import struct

from tests.peer4 import wire
from tests.peer4.client import Peer4, public_der
from tests.peer4.wire import ALWAYS


def every_request(peer: Peer4) -> dict[str, bytes]:
    """One good message of every code."""
    der = public_der(peer.key)
    upload_id, salt = os.urandom(16), os.urandom(32)
    key = peer.key_of(upload_id, salt)
    name, sealed = wire.text("f"), wire.seal(key, upload_id, 0, b"x", final=True)
    assert peer.client_id is not None
    payloads = {
        wire.REGISTER: wire.text("n") + wire.text("") + struct.pack("<H", len(der)) + der,
        wire.CONNECT: peer.client_id,
        wire.PROVE: bytes(32),
        wire.BEGIN: upload_id + salt + struct.pack("<QqHB", 1, 0, 0, ALWAYS) + name,
        wire.SEGMENT_CODE: upload_id + struct.pack("<QB", 0, 1) + sealed,
        wire.END: upload_id + struct.pack("<Q", 1) + wire.digest(b"x"),
        wire.PUT: wire.put(peer.secret, peer.client_id, [wire.Small("f", b"x", upload_id)]),
        wire.ABANDON: upload_id,
        wire.ATTACH: b"",
        wire.LIST: wire.text("") + wire.text("") + struct.pack("<H", 1),
        wire.STAT: name,
        wire.GET: salt + struct.pack("<Q", 0) + name,
        wire.REMOVE: name,
        wire.RENAME: bytes([0]) + name + wire.text("g"),
    }  # fmt: skip
    return {str(code): wire.message(code, payload) for code, payload in payloads.items()}


CODES = (1, 2, 3, 16, 17, 18, 19, 20, 21, 32, 33, 34, 35, 36)

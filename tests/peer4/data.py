"""`DataConnection`: carries sealed content beside the connection of a `Peer4`."""

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.peer4 import wire
from tests.peer4.stream import MessageStream, reset

KeyOf = Callable[[bytes, bytes, bytes], bytes]


class DataConnection(MessageStream):
    """Plain TCP; `Peer4.attach` gives one that the server has accepted."""

    def __init__(self, connection: socket.socket, key_of: KeyOf) -> None:
        """`key_of` is that of the control connection, whose secret seals here too."""
        super().__init__()
        self._socket = connection
        self._key_of = key_of

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def channel(self) -> socket.socket:
        return self._socket

    def key_of(self, upload_id: bytes, salt: bytes, direction: bytes = wire.TO_SERVER) -> bytes:
        return self._key_of(upload_id, salt, direction)

    def open(self, ticket: bytes, preface: bytes = wire.DATA_PREFACE) -> Self:
        """Says what it is; `accepted` reads the answer."""
        self.transmit(preface + ticket)
        return self

    def accepted(self) -> Self:
        """Reads *done*; raises `StreamCut` when the server closes it instead."""
        assert self.expect(wire.DONE, 0) == b""
        return self

    def close(self) -> None:
        """Ends it with what was sent; harmless when it has ended."""
        self._socket.close()

    def cut(self) -> None:
        """Ends it with a reset: what the server has not read yet is lost."""
        reset(self._socket)

    def at_end(self) -> bool:
        """Whether the server has ended it and has said nothing else; waits for that."""
        if self._unread:
            return False
        try:
            return not self._socket.recv(1)
        except TimeoutError:
            raise
        except OSError:
            return True

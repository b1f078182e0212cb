"""From bytes, in whatever pieces they arrive, to protocol-4 messages, without copying content.

The decoder owns the buffer that the bytes are received into, in the manner of asyncio's
`BufferedProtocol`:

    while received := socket.recv_into(decoder.writable()):
        for request_id, message in decoder.written(received):
            ...

After a `ProtocolError` a decoder is spent: the stream has lost its framing and the connection
cannot go on.
"""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from protocol.errors import ProtocolError
from protocol.header import MAX_PAYLOAD_BYTES, MESSAGE_HEADER_BYTES, MessageHeader
from protocol.records import Record

M = TypeVar("M", bound=Record)

_HEADER_BYTES = MESSAGE_HEADER_BYTES
# Most connections idle most of the time, and a message of any table fits one of these: anything
# small, a long list, a segment or *put*. The slack lets one read take a message's end and the next
# one's begin.
_SLACK_BYTES = 16_384
_CAPACITIES = (16_384, 131_072, _HEADER_BYTES + MAX_PAYLOAD_BYTES + _SLACK_BYTES)


class FrameDecoder(Generic[M]):
    """One direction of a connection: `REQUESTS` for the server's end, `RESPONSES` for the client's.

    Holds 16 KiB, and as much as one message needs while that message arrives.
    """

    def __init__(self, messages: Mapping[int, type[M]]) -> None:
        self._messages = messages
        self._buffer = memoryview(bytearray(_CAPACITIES[0]))
        self._start = 0  # received and not yet decoded: from here
        self._end = 0  # to here
        self._header: MessageHeader | None = None
        self._request_id = 0

    @property
    def between_messages(self) -> bool:
        """Whether the stream stands at a boundary, where its end is no truncation."""
        return self._header is None and self._start == self._end

    @property
    def request_id(self) -> int:
        """That of the message that is being decoded, or of the latest one; what an error is about.

        0 before the first message, and after a header of another version.
        """
        return self._request_id

    def expect(self, messages: Mapping[int, type[M]]) -> None:
        """From the next message on these may come, and no other ones."""
        self._messages = messages

    def writable(self) -> memoryview:
        """Where the next bytes go: never empty; it ends the life of all views handed out before.

        Raises `RuntimeError` while messages of the latest `written` have not been taken.
        """
        held = self._end - self._start
        awaited = self._awaited
        if held >= awaited:
            raise RuntimeError("iterate over all that written() returns first")
        capacity = next(size for size in _CAPACITIES if size >= awaited)
        if self._start or capacity != len(self._buffer):
            rest = self._buffer[self._start : self._end]
            if capacity != len(self._buffer):
                self._buffer = memoryview(bytearray(capacity))
            self._buffer[:held] = rest
            self._start, self._end = 0, held
        return self._buffer[held:]

    def written(self, size: int) -> Iterator[tuple[int, M]]:
        """Takes note of `size` bytes in what `writable` gave; yields (request id, message).

        Iterate to the end. Sealed content is a view of the decoder's buffer: use or copy it before
        the next `writable`. Raises `ProtocolError` on another version, an unknown code or a payload
        size that the code cannot have, before any of that payload is waited for, and on a payload
        that breaks a limit; messages before the bad one have been yielded by then.
        """
        self._end += size
        return self._decoded()

    @property
    def _awaited(self) -> int:
        return _HEADER_BYTES + (self._header.payload_size if self._header else 0)

    def _decoded(self) -> Iterator[tuple[int, M]]:
        # What fails stays at the front: a spent decoder decodes nothing more.
        while self._end - self._start >= self._awaited:
            payload = self._start + _HEADER_BYTES
            if self._header is None:
                self._header = self._open(self._buffer[self._start : payload])
                continue
            end = self._start + self._awaited
            message = self._messages[self._header.code].unpack(self._buffer[payload:end])
            self._start, self._header = end, None
            yield self._request_id, message

    def _open(self, data: memoryview) -> MessageHeader:
        self._request_id = 0
        header = MessageHeader.unpack(data)
        self._request_id = header.request_id
        message = self._messages.get(header.code)
        if message is None:
            raise ProtocolError(f"unknown message code {header.code}")
        message.LAYOUT.check_size(message.__name__, header.payload_size)
        return header

"""From bytes, in whatever pieces they arrive, to protocol-3 messages.

A decoder holds at most one header and fixed payload. File content passes through as views of the
caller's buffer, without a copy. After a `ProtocolError` a decoder is spent: the stream has lost its
framing and the connection cannot go on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from protocol.errors import ContentTooLarge, ProtocolError
from protocol.generations import Generation
from protocol.header import (
    REQUEST_HEADER_BYTES,
    RESPONSE_HEADER_BYTES,
    RequestHeader,
    ResponseHeader,
)
from protocol.messages3 import Request, Response, SendFile, SendPacket


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request whose fixed part is complete; `content_bytes` bytes of file content follow it."""

    client_id: bytes
    generation: Generation
    request: Request
    content_bytes: int


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """The last byte of the request that the latest `RequestHead` opened has been seen."""


class _Gathering:
    """Collects an exact number of bytes from pieces of any size."""

    def __init__(self, wanted: int) -> None:
        self._data = bytearray()
        self._wanted = wanted

    @property
    def missing(self) -> int:
        return self._wanted - len(self._data)

    def take(self, data: memoryview) -> memoryview:
        """Takes what is missing from the front of `data` and returns the rest."""
        taken = self.missing
        self._data += data[:taken]
        return data[taken:]

    def next(self, wanted: int) -> bytes:
        """What was collected; the collection starts anew for `wanted` bytes."""
        complete = bytes(self._data)
        self._data.clear()
        self._wanted = wanted
        return complete


class RequestDecoder:
    """The server's end: bytes in, requests out.

    `by_code` says which generation a request code means (`generations_by_code`);
    `max_content_bytes` is the most file content that one request may carry.
    """

    def __init__(self, by_code: Mapping[int, Generation], max_content_bytes: int) -> None:
        self._by_code = by_code
        self._max_content_bytes = max_content_bytes
        self._gathering = _Gathering(REQUEST_HEADER_BYTES)
        self._header: RequestHeader | None = None
        self._content_left = 0
        self.generation: Generation | None = None
        """The generation of the latest request whose code was recognised."""

    @property
    def between_requests(self) -> bool:
        """Whether the stream stands at a boundary, where its end is no truncation."""
        return (
            self._header is None
            and not self._content_left
            and self._gathering.missing == REQUEST_HEADER_BYTES
        )

    @property
    def content_left(self) -> int:
        """Bytes of file content that the current request has still to bring."""
        return self._content_left

    def feed(
        self, data: bytes | bytearray | memoryview
    ) -> Iterator[RequestHead | memoryview | RequestEnd]:
        """Yields what `data` completes: a head, then the content's pieces, then an end.

        The pieces are views of `data`, valid until the next item is asked for. Iterate to the end:
        what is not consumed is not decoded. Raises `ProtocolError` on a wrong version, an unknown
        code or sizes that contradict each other, `ContentTooLarge` beyond the limit; in both cases
        before any of the payload in question is waited for.
        """
        rest = memoryview(data)
        while rest:
            if self._content_left:
                piece, rest = rest[: self._content_left], rest[self._content_left :]
                self._content_left -= len(piece)
                yield piece
                if not self._content_left:
                    yield self._end()
                continue
            rest = self._gathering.take(rest)
            if self._gathering.missing:
                return
            if self._header is None:
                self._open_request()
            else:
                head = self._open_payload(self._header)
                self._content_left = head.content_bytes
                yield head
                if not self._content_left:
                    yield self._end()

    def _open_request(self) -> None:
        header = RequestHeader.unpack(self._gathering.next(0))
        generation = self._by_code.get(header.code)
        if generation is None:
            raise ProtocolError(f"unknown request code {header.code}")
        self.generation = generation
        message = generation.requests[header.code]
        extra = header.payload_size - message.SIZE
        has_content = message in (SendFile, SendPacket)
        if extra < 0 or (extra and not has_content):
            raise ProtocolError(
                f"{message.__name__} with a payload of {header.payload_size} bytes"
                f" where {message.SIZE} are expected"
            )
        if extra > self._max_content_bytes:
            raise ContentTooLarge(
                f"{extra} bytes of content where {self._max_content_bytes} are accepted"
            )
        self._header = header
        self._gathering.next(message.SIZE)

    def _open_payload(self, header: RequestHeader) -> RequestHead:
        generation = self._by_code[header.code]
        request = generation.requests[header.code].unpack(self._gathering.next(0))
        content_bytes = header.payload_size - request.SIZE
        if isinstance(request, SendFile) and request.content_size != content_bytes:
            raise ProtocolError(
                f"a content size of {request.content_size} bytes in a message that carries"
                f" {content_bytes}"
            )
        return RequestHead(header.client_id, generation, request, content_bytes)

    def _end(self) -> RequestEnd:
        self._header = None
        self._gathering.next(REQUEST_HEADER_BYTES)
        return RequestEnd()


class ResponseDecoder:
    """The client's end: bytes in, responses of one generation out."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._gathering = _Gathering(RESPONSE_HEADER_BYTES)
        self._header: ResponseHeader | None = None

    @property
    def between_responses(self) -> bool:
        """Whether the stream stands at a boundary, where its end is no truncation."""
        return self._header is None and self._gathering.missing == RESPONSE_HEADER_BYTES

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Response]:
        """Yields every response that `data` completes; iterate to the end.

        Raises `ProtocolError` on a wrong version, an unknown code, or a payload of a size that this
        response cannot have, before any of that payload is waited for.
        """
        rest = memoryview(data)
        while rest:
            rest = self._gathering.take(rest)
            if self._gathering.missing:
                return
            if self._header is None:
                self._open_response()
            if self._header is not None and not self._gathering.missing:
                message = self._generation.responses[self._header.code]
                self._header = None
                yield message.unpack(self._gathering.next(RESPONSE_HEADER_BYTES))

    def _open_response(self) -> None:
        header = ResponseHeader.unpack(self._gathering.next(0))
        message = self._generation.responses.get(header.code)
        if message is None:
            raise ProtocolError(f"unknown response code {header.code}")
        if not message.MIN_SIZE <= header.payload_size <= message.MAX_SIZE:
            raise ProtocolError(f"{message.__name__} with a payload of {header.payload_size} bytes")
        self._header = header
        self._gathering.next(header.payload_size)

"""The fixed headers of both protocols, and the fingerprints that people compare."""

from collections.abc import Iterable

from protocol.channel import format_fingerprint, parse_fingerprint
from protocol.errors import ProtocolError
from protocol.header import MessageHeader, RequestHeader, ResponseHeader
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must

_KINDS = (RequestHeader, ResponseHeader, MessageHeader)


def _run(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.byte() % (len(_KINDS) + 1)
    if kind == len(_KINDS):
        _fingerprint(choices.rest())
        return
    _header(_KINDS[kind], choices.rest())


def _header(kind: type[RequestHeader | ResponseHeader | MessageHeader], data: bytes) -> None:
    try:
        header = kind.unpack(data)
    except ProtocolError:
        return
    must(header.pack() == data, "a header that is accepted packs to the same bytes")


def _fingerprint(data: bytes) -> None:
    try:
        fingerprint = parse_fingerprint(data.decode("utf-8", "replace"))
    except ValueError:
        return
    must(len(fingerprint) == 32, "a fingerprint has 32 bytes")
    must(parse_fingerprint(format_fingerprint(fingerprint)) == fingerprint, "it reads as written")


def _seeds() -> Iterable[bytes]:
    yield b"\0" + RequestHeader(bytes(16), 1100, 255).pack()
    yield b"\1" + ResponseHeader(2100, 16).pack()
    yield b"\2" + MessageHeader(1, 2, 3).pack()
    yield b"\3" + format_fingerprint(bytes(range(32))).encode()


TARGET = Target("headers", "protocol/header.py, channel.py", _run, _seeds, max_bytes=128)

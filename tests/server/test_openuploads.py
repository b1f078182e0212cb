"""A control connection's uploads and its data connection, without sockets."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.messages4 import Segment
from server.errors import DataConnectionLost
from server.openuploads import DataLink, OpenUploads
from server.rates import Rates

UPLOAD = b"u" * 16
SEGMENT = Segment(UPLOAD, 0, True, bytes(17))


class Wire:
    """What a data connection was told."""

    def __init__(self, *, broken: bool = False) -> None:
        self.sent: list[bytes] = []
        self.ends: list[str] = []
        self.broken = broken
        self.link = DataLink(
            self._send, lambda: self.ends.append("finish"), lambda: self.ends.append("cut")
        )

    def _send(self, parts: Iterable[bytes | memoryview]) -> None:
        if self.broken:
            raise BrokenPipeError
        self.sent += [bytes(part) for part in parts]


@pytest.fixture
def taken() -> list[Segment]:
    return []


@pytest.fixture
def uploads(taken: list[Segment]) -> OpenUploads:
    attempt: Any = SimpleNamespace(
        request=SimpleNamespace(upload_id=UPLOAD), take=taken.append, all_there=True
    )
    nobody: Any = SimpleNamespace(leave=lambda *_: None)
    made = OpenUploads(nobody, Rates(0), b"c" * 16)
    made.add(attempt)
    return made


def test_a_connection_that_cannot_be_greeted_is_none(uploads: OpenUploads) -> None:
    with pytest.raises(BrokenPipeError):
        uploads.attach(Wire(broken=True).link, b"hello")
    assert uploads.link is None


def test_a_connection_that_comes_too_late_is_not_greeted(uploads: OpenUploads) -> None:
    uploads.close()
    late = Wire()
    assert not uploads.attach(late.link, b"hello")
    assert late.sent == []


def test_what_is_left_on_a_connection_that_was_replaced_is_passed_over(
    uploads: OpenUploads, taken: list[Segment]
) -> None:
    first, second = Wire(), Wire()
    for wire in (first, second):
        assert uploads.attach(wire.link, b"hello")
    assert first.ends == ["cut"]
    uploads.take(SEGMENT, first.link)
    assert taken == []
    uploads.take(SEGMENT, second.link)
    uploads.take(SEGMENT)  # on the control connection
    assert taken == [SEGMENT, SEGMENT]


def test_a_download_that_fails_cuts_the_connection_that_the_client_waits_on(
    uploads: OpenUploads,
) -> None:
    wire = Wire()
    uploads.attach(wire.link, b"hello")
    busy: list[bool] = []

    def fail() -> None:
        with wire.link.sending():
            busy.append(wire.link.busy)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert busy == [True]
    assert wire.ends == ["cut"]
    assert not wire.link.busy


def test_content_is_not_sent_again_on_a_connection_that_a_download_failed_on(
    uploads: OpenUploads, taken: list[Segment]
) -> None:
    wire = Wire()
    uploads.attach(wire.link, b"hello")
    wire.broken = True
    with pytest.raises(DataConnectionLost), wire.link.sending():
        wire.link.send([b"content"])
    assert wire.ends == ["cut"]
    assert uploads.link is None  # though nobody has seen its end yet
    uploads.take(SEGMENT, wire.link)
    assert taken == [SEGMENT]  # what had come on it is still read

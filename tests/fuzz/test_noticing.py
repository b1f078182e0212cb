"""Targets notice: with a fault planted in the product, the seeds alone break a promise."""

from collections.abc import Callable
from typing import Any

import pytest

import client.downloading
import client.receipts
import protocol.decoder
import protocol.decoder4
import protocol.fields
import protocol.names
import server.attempts
import server.opening
import server.sealing
import server.session3
import server.session4
from client.sealing4 import ContentKey
from protocol.messages3 import FileReceived
from server.attempts import Attempt, Incoming
from server.quota import Quota
from server.uploading import Uploads
from tests.fuzz import corpus, target


def broken(name: str) -> bool:
    """Whether any seed or kept input breaks a promise, or raises what nobody expects."""
    found = target.load(name)
    for data in (*found.seeds(), *corpus.kept(name)):
        try:
            found.run(data)
        except Exception:  # noqa: BLE001 - any error is what libFuzzer would stop at
            return True
    return False


def nothing(*_arguments: object, **_named: object) -> None:
    """Checks nothing."""


def unchecked_complete(attempt: Attempt, end: Any) -> Incoming:  # noqa: ANN401 - an `End`
    """As `Attempt.complete`, believing what the client says."""
    request = attempt.request
    return Incoming(
        attempt.client, request.upload_id, attempt.object_id, attempt.staged, attempt.reservation,
        request.name, end.size, end.sha256, request.modified, request.mode, request.policy,
    )  # fmt: skip


def off_by_one(take: Callable[..., memoryview]) -> Callable[..., memoryview]:
    """A decoder that loses a byte where a piece ends."""

    def taking(self: Any, data: memoryview) -> memoryview:  # noqa: ANN401 - a private class
        return take(self, data[:-1] if 1 < len(data) < 20 else data)

    return taking


FAULTS: list[tuple[str, str, object, str, object]] = [
    ("control characters pass", "names", protocol.names, "_CONTROL_CATEGORIES", frozenset()),
    ("a piece loses a byte", "requests3", protocol.decoder._Gathering, "take",
     off_by_one(protocol.decoder._Gathering.take)),
    ("text may be anything", "records4", protocol.fields, "_without_nul",
     lambda text: text.replace("a", "b")),
    ("buffers never shrink", "frames4", protocol.decoder4, "_CAPACITIES", (1 << 21,)),
    ("signatures are not checked", "receipt_files", client.receipts, "_is_signed",
     lambda *_: True),
    ("an upload is believed", "server_session4", Attempt, "complete", unchecked_complete),
    ("room is not given back", "server_session4", Quota, "release", nothing),
    ("attempts are not left", "server_session4", Uploads, "leave", nothing),
    ("what fails stays", "server_session3", server.session3.Session3, "_drop_content",
     nothing),
    ("the whole is not checked", "client_session4", client.downloading.Whole, "check", nothing),
    ("receipts are not compared", "client_session4", client.receipts.Signer, "check",
     lambda _self, stored, *_: client.receipts.Receipt(_body(stored), b"")),
    ("a wrong checksum is right", "client_session3", FileReceived, "checksum", 1),
    ("tags are not checked", "segments4", server.sealing.SegmentOpener, "open",
     lambda _self, _index, _sealed, plain, **_: plain),
    ("the client opens anything", "segments4", ContentKey, "open",
     lambda _self, _sealed, _index, output, **_: output),
]  # fmt: skip


def _body(stored: Any) -> Any:  # noqa: ANN401 - a `Stored` and a `ReceiptBody`
    from protocol.receipts import ReceiptBody

    return ReceiptBody.unpack(stored.body)


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "fault"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_a_planted_fault_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, owner: object, attribute: str, fault: object
) -> None:
    assert not broken(name)
    monkeypatch.setattr(owner, attribute, fault)
    assert broken(name)

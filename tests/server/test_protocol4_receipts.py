"""Receipts that share a signature: each stands for one stored file, and none for another."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer4 import merkle, wire
from tests.peer4.client import Peer4
from tests.peer4.serving import ServerProcess4, Serving, serving
from tests.peer4.wire import NEVER, Receipt, Small


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data") as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()


def small(number: int) -> Small:
    """A file of so many bytes."""
    return Small(f"f{number}", b"x" * number, os.urandom(16))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_files_that_become_durable_together_share_one_signature(peer: Peer4, count: int) -> None:
    receipts = peer.put_together([small(number) for number in range(count)])
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    assert [
        (r.index, r.count, r.file_name, r.size) for r in receipts if isinstance(r, Receipt)
    ] == [(n, count, f"f{n}", n) for n in range(count)]
    assert len({r.signature for r in receipts if isinstance(r, Receipt)}) == 1


def test_a_file_on_its_own_has_a_signature_of_its_own(peer: Peer4) -> None:
    for receipt in (peer.put("small", b"x"), peer.upload("large", b"y")):
        assert (receipt.index, receipt.count, receipt.path) == (0, 1, ())


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_a_file_that_was_refused_gets_no_receipt_out_of_those_beside_it(
    peer: Peer4, refused: int
) -> None:
    # A client knows all that the receipt of a refused file would say, and the receipts of one batch
    # hold each other's hashes: nothing may be signed that was not stored.
    upload_ids = [os.urandom(16) for _ in range(5)]
    names = ["same" if n in {0, refused} else f"f{n}" for n in range(5)]
    answers = peer.put_together(
        [
            Small(name, b"content", upload_id, policy=NEVER)
            for name, upload_id in zip(names, upload_ids, strict=True)
        ]
    )
    assert answers[refused] == wire.EXISTS
    receipts = [answer for answer in answers if isinstance(answer, Receipt)]
    assert len(receipts) == 4
    body = receipts[0].body
    forged = body[:62] + upload_ids[refused] + body[78:]
    for signature in {receipt.signature for receipt in receipts}:
        signed = [receipt for receipt in receipts if receipt.signature == signature]
        count, known = signed[0].count, {receipt.index: receipt.body for receipt in signed}
        leaves = [known.get(index, forged) for index in range(count)]
        for index in range(count):
            path = merkle.path(index, leaves)
            with pytest.raises(wire.NotAuthentic):
                wire.verify(peer.receipt_key, forged, index, count, path, signature)


def test_the_receipt_of_a_batch_is_given_again_after_a_restart(tmp_path: Path) -> None:
    upload_ids = [os.urandom(16) for _ in range(5)]
    with ServerProcess4(tmp_path / "data") as process, Peer4(process.port) as peer:
        peer.introduce()
        first = peer.put_together([Small(id_.hex(), b"x", id_) for id_ in upload_ids])
        process.kill()
    with ServerProcess4(tmp_path / "data") as process:
        peer.port = process.port
        with peer.again() as later:
            again = [later.upload(id_.hex(), b"x", upload_id=id_) for id_ in upload_ids]
    assert again == first

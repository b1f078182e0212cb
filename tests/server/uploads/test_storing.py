"""What is stored, its receipt, and what it replaces."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.peer4 import wire
from tests.peer4.client import MODIFIED, Peer4
from tests.peer4.serving import Serving, reason, serving, until
from tests.peer4.wire import ALWAYS, IF_OLDER, NEVER, SEGMENT, Receipt, RefusedError
from tests.server.hostile_segments import BIG
from tests.server.uploads.sending import introduced

SIZES = (0, 1, wire.SMALL, wire.SMALL + 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5)


# What is stored, and its receipt


def test_files_of_every_size_are_stored_whole_with_a_receipt(everywhere: Serving) -> None:
    with introduced(everywhere) as peer:
        before = int(time.time())
        for size in SIZES:
            content = BIG[:size]
            for kind, announced in (("known", size), ("unknown", None)):
                name, upload_id = f"{kind}/{size}", os.urandom(16)
                receipt = peer.upload(name, content, upload_id=upload_id, announced=announced)
                check_receipt(receipt, peer, upload_id, name, content, before)
                entry, got = peer.get(name)
                assert got == content
                assert (entry.size, entry.sha256) == (size, wire.digest(content))
                assert (entry.modified, entry.mode, entry.cksum) == (MODIFIED, 0o640, None)
            if size <= wire.SMALL:
                upload_id = os.urandom(16)
                receipt = peer.put(f"put/{size}", content, upload_id=upload_id)
                check_receipt(receipt, peer, upload_id, f"put/{size}", content, before)
                assert peer.get(f"put/{size}")[1] == content
        assert all(content == BIG[: len(content)] for content in everywhere.stored().values())
    until(everywhere.is_tidy, "nothing else is kept")


def check_receipt(
    receipt: Receipt, peer: Peer4, upload_id: bytes, name: str, content: bytes, before: int
) -> None:
    assert receipt.receipt_key == peer.receipt_key
    assert receipt.client_id == peer.client_id
    assert receipt.upload_id == upload_id
    assert receipt.size == len(content)
    assert before <= receipt.received <= time.time()
    assert receipt.sha256 == wire.digest(content)
    assert (receipt.client_name, receipt.file_name) == (peer.name, name)


def test_the_extremes_of_time_and_mode_are_kept(peer: Peer4) -> None:
    for modified, mode in ((-(2**63), 0), (2**63 - 1, 0o7777), (-1, 0o644)):
        peer.send_put("f", b"x", modified=modified, mode=mode)
        peer.stored()
        entry = peer.stat("f")
        assert (entry.modified, entry.mode) == (modified, mode)


@pytest.mark.parametrize("policy", [NEVER, IF_OLDER, ALWAYS])
def test_every_step_repeated_gives_the_same_receipt(everywhere: Serving, policy: int) -> None:
    with introduced(everywhere) as peer:
        big, small = os.urandom(16), os.urandom(16)
        first = peer.upload("big", BIG, upload_id=big, policy=policy)
        put = peer.put("small", b"small", upload_id=small, policy=policy)
        for again in (peer, peer.again()):
            assert again.upload("big", BIG, upload_id=big, policy=policy) == first
            assert again.put("small", b"small", upload_id=small, policy=policy) == put
            # put after begin and begin after put, of one upload
            assert again.upload("small", b"small", upload_id=small, policy=policy) == put
            again.close()
        assert everywhere.stored() == {"big": BIG, "small": b"small"}
    until(everywhere.is_tidy, "nothing else is kept")


def test_a_put_repeated_in_one_batch_is_stored_once(everywhere: Serving) -> None:
    with introduced(everywhere) as peer:
        upload_id = os.urandom(16)
        sent = [peer.send_put("f", b"x", upload_id=upload_id, policy=NEVER) for _ in range(5)]
        assert len({peer.stored(request_id) for request_id in sent}) == 1
    until(everywhere.is_tidy, "nothing else is kept")


def test_a_receipt_is_given_again_even_when_the_quota_is_used_up(tmp_path: Path) -> None:
    with serving(tmp_path / "data", max_files_per_client=1) as server:
        with introduced(server) as peer:
            upload_id = os.urandom(16)
            first = peer.put("f", b"x", upload_id=upload_id)
            assert peer.put("f", b"x", upload_id=upload_id) == first
            assert peer.upload("f", b"x", upload_id=upload_id) == first
            assert reason(lambda: peer.put("g", b"x")) == wire.QUOTA
        until(server.is_tidy, "nothing else is kept")


# Policies


def test_policies_decide_what_a_file_replaces(everywhere: Serving) -> None:
    with introduced(everywhere) as peer:
        peer.put("f", b"first", modified=100)
        for content in (b"put", BIG):
            send = peer.put if len(content) <= wire.SMALL else peer.upload
            for policy, modified in ((NEVER, 200), (IF_OLDER, 100), (IF_OLDER, 99)):
                assert (
                    reason(lambda s=send, c=content, p=policy, m=modified: s(  # type: ignore[misc]
                        "f", c, policy=p, modified=m))
                    == wire.EXISTS
                )  # fmt: skip
            assert peer.get("f")[1] == b"first"
        peer.put("f", b"newer", policy=IF_OLDER, modified=101)
        assert peer.get("f")[1] == b"newer"
        peer.upload("f", BIG, policy=IF_OLDER, modified=102)
        assert peer.get("f")[1] == BIG
        peer.put("f", b"older", policy=ALWAYS, modified=1)
        assert peer.get("f")[1] == b"older"
    until(everywhere.is_tidy, "nothing else is kept")


def test_of_many_who_must_not_replace_one_wins(everywhere: Serving) -> None:
    with introduced(everywhere) as owner:
        for turn in range(3):
            barrier = threading.Barrier(4)

            def send(number: int, turn: int = turn, barrier: threading.Barrier = barrier) -> bool:
                with owner.again() as peer:
                    upload_id, salt, content = os.urandom(16), os.urandom(32), bytes([number]) * 99
                    peer.begin(upload_id, salt, f"f{turn}", 99, policy=NEVER)
                    peer.send_content(upload_id, salt, content)
                    barrier.wait()
                    try:
                        peer.end(upload_id, 99, wire.digest(content))
                    except RefusedError as error:
                        if error.reason != wire.EXISTS:
                            raise
                        return False
                    return peer.get(f"f{turn}")[1] == content

            with ThreadPoolExecutor(4) as pool:
                assert sum(pool.map(send, range(4))) == 1
    until(everywhere.is_tidy, "nothing else is kept")


def test_of_many_who_replace_older_ones_the_newest_stays(everywhere: Serving) -> None:
    with introduced(everywhere) as owner:

        def send(number: int) -> None:
            with owner.again() as peer:
                for _ in range(5):
                    try:
                        peer.put("f", bytes([number]), policy=IF_OLDER, modified=number)
                    except RefusedError as error:
                        if error.reason != wire.EXISTS:
                            raise

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, range(4)))
        assert owner.get("f")[1] == b"\3"
    until(everywhere.is_tidy, "nothing else is kept")

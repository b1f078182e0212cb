"""Somebody who has the server's own certificate ends TLS in the middle and alters what passes."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import pytest

from client import Client, PutResult
from client.errors import (
    BadReceipt,
    BrokenProtocol,
    ClientError,
    ConnectionFailed,
    ContentTampered,
    NotWritten,
    QuotaExceeded,
    SegmentRefused,
)
from client.receipts import ReceiptStore, read_receipts, verify_receipt
from protocol.contexts import SEGMENT_BYTES
from protocol.messages4 import (
    Begun,
    Challenge,
    Connected,
    Content,
    Done,
    Entries,
    Entry,
    Outcomes,
    Put,
    Reason,
    Refused,
    Stored,
)
from protocol.receipts import ReceiptBody
from protocol.smallfiles import unpack_files
from tests.client.relay import Alter, Message, Pair, Relay, relaying
from tests.client.running4 import Server4
from tests.protocol.samples4 import replace

SIZE = 2 * SEGMENT_BYTES + 7
FOREIGN = Stored(b"nonsense", 0, 1, (), bytes(64)).pack()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sent"
    path.write_bytes(os.urandom(SIZE))
    return path


Middle = Callable[[Alter], Client]


@pytest.fixture
def middle(alice: Client, server4: Server4, tmp_path: Path) -> Iterator[Middle]:
    """Makes a client whose connections pass through somebody who alters messages."""
    pair = Pair(server4.data / "certificate.pem", server4.data / "certificate.key")
    identity = next((tmp_path / "state/identities").glob("*.pem"))
    latest: Alter = _as_it_was
    clients: list[Client] = []

    def make(how: Alter) -> Client:
        nonlocal latest
        latest = how
        shutil.copy(identity, identity.with_name(f"{relay.address}.pem"))
        clients.append(
            Client(
                relay.address,
                directory=tmp_path / "state",
                fingerprint=pair.fingerprint,
                retries=1,
            )
        )
        return clients[-1]

    def altered(message: Message) -> Message:
        return latest(message)

    relay: Relay
    with relaying(server4.address, pair, altered) as relay:
        yield make
        for client in clients:
            client.close()
    assert alice.whoami()


def _as_it_was(message: Message) -> Message:
    return message


def flipped(data: Message) -> bytes:
    altered = bytearray(data)
    altered[len(altered) // 2] ^= 1
    return bytes(altered)


def altered_content(message: Message) -> Message:
    if isinstance(message, Content) and message.index == 1:
        return replace(message, sealed=flipped(message.sealed))
    return message


def test_altered_content_is_not_used(
    alice: Client, middle: Middle, path: Path, tmp_path: Path
) -> None:
    alice.put(path, "file")
    client = middle(altered_content)

    with pytest.raises(ContentTampered):
        client.get("file", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    with pytest.raises(ContentTampered):
        list(client.read("file"))

    # What was verified before is kept, and only that.
    alice.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()


def test_segments_that_change_places_are_noticed(
    alice: Client, middle: Middle, path: Path, tmp_path: Path
) -> None:
    alice.put(path, "file")
    held: list[bytes] = []

    def swap(message: Message) -> Message:
        if isinstance(message, Content) and message.index == 0:
            held.append(bytes(message.sealed))
        if isinstance(message, Content) and message.index == 1:
            return replace(message, sealed=held[0])
        return message

    with pytest.raises(ContentTampered):
        middle(swap).get("file", tmp_path / "fetched")


@pytest.mark.parametrize(
    "how",
    [
        lambda m: replace(m, index=m.index + 1) if isinstance(m, Content) else m,
        lambda m: replace(m, final=True, sealed=m.sealed[:20]) if isinstance(m, Content) else m,
        lambda m: replace(m, name="other") if isinstance(m, Entry) else m,
        lambda m: Done() if isinstance(m, Entry) else m,
        lambda m: replace(m, size=m.size - SEGMENT_BYTES) if isinstance(m, Entry) else m,
    ],
)
def test_content_that_is_not_what_was_asked_for_is_an_error(
    alice: Client, middle: Middle, path: Path, tmp_path: Path, how: Alter
) -> None:
    alice.put(path, "file")

    with pytest.raises((BrokenProtocol, ContentTampered)):
        middle(how).get("file", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def other_sum(message: Message) -> Message:
    return replace(message, sha256=bytes(32)) if isinstance(message, Entry) else message


def test_a_sum_that_differs_leaves_nothing_behind(
    alice: Client, middle: Middle, path: Path, tmp_path: Path
) -> None:
    alice.put(path, "file")

    with pytest.raises(ContentTampered):
        middle(other_sum).get("file", tmp_path / "fetched")
    with pytest.raises(ContentTampered):
        list(middle(other_sum).read("file"))
    assert not (tmp_path / "fetched").exists()
    assert not list(tmp_path.glob(".*"))


def test_what_is_tampered_with_and_cannot_be_removed_is_told_and_not_gone_on_from(
    alice: Client, middle: Middle, path: Path, tmp_path: Path
) -> None:
    alice.put(path, "file")
    moved = tmp_path / "moved"

    def keep_it(done: int, size: int | None) -> None:
        if done == size:
            (part,) = tmp_path.glob(".fetched.*.part")
            part.rename(moved)
            part.mkdir()

    with pytest.raises(ContentTampered):
        middle(other_sum).get("file", tmp_path / "fetched", progress=keep_it)
    assert moved.read_bytes() == b""


def test_altered_uploads_are_refused_by_the_server(
    alice: Client, middle: Middle, path: Path
) -> None:
    def alter(message: Message) -> Message:
        if type(message).__name__ in ("Segment", "Put"):
            return replace(message, sealed=flipped(message.sealed))
        return message

    small = path.with_name("small")
    small.write_bytes(b"1234")
    for sent in (path, small):
        with pytest.raises((SegmentRefused, ConnectionFailed)):
            middle(alter).put(sent, "file")
    assert list(alice.list()) == []


def _body_with(**changes: Message) -> Alter:
    def alter(message: Message) -> Message:
        if not isinstance(message, Stored):
            return message
        body = replace(ReceiptBody.unpack(message.body), **changes)
        return replace(message, body=body.pack())

    return alter


@pytest.mark.parametrize(
    "how",
    [
        lambda m: replace(m, signature=flipped(m.signature)) if isinstance(m, Stored) else m,
        lambda m: replace(m, body=b"nonsense") if isinstance(m, Stored) else m,
        _body_with(size=3),
        _body_with(file_name="other"),
        _body_with(received=1),
        _body_with(receipt_key=bytes(32)),
    ],
)
def test_an_altered_receipt_is_none(middle: Middle, path: Path, tmp_path: Path, how: Alter) -> None:
    with pytest.raises(BadReceipt):
        middle(how).put(path, "file")
    assert not list((tmp_path / "state").glob("receipts/*"))


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (BadReceipt, lambda m: replace(m, signature=flipped(m.signature))),
        (BadReceipt, lambda m: replace(m, received=m.received + 1)),
        (BadReceipt, lambda m: replace(m, table=b"\1" + pack("<H", len(FOREIGN)) + FOREIGN)),
        (BrokenProtocol, lambda m: replace(m, table=b"\0\0")),
        (BrokenProtocol, lambda m: replace(m, table=b"\3")),
        (BrokenProtocol, lambda m: replace(m, table=b"\2\1\0" + bytes(6))),
    ],
)
def test_altered_outcomes_are_no_receipts(
    middle: Middle, path: Path, tmp_path: Path, error: type[ClientError], how: Alter
) -> None:
    path.write_bytes(b"1234")
    with pytest.raises(error):
        middle(lambda m: how(m) if isinstance(m, Outcomes) else m).put(path, "file")
    assert not list((tmp_path / "state").glob("receipts/*"))


def test_files_that_the_server_failed_at_are_sent_again_and_stored_once(
    middle: Middle, tmp_path: Path
) -> None:
    files = [(tmp_path / str(number), str(number)) for number in range(5)]
    for path, name in files:
        path.write_bytes(name.encode())
    sent: list[int] = []
    failed = b"\2" + Refused(Reason.SERVER_FAILED, 0, "").pack()

    def alter(message: Message) -> Message:
        if isinstance(message, Put):
            sent.append(len(unpack_files(message.table)))
        if isinstance(message, Outcomes) and len(sent) == 1:
            return replace(message, table=failed * 5, received=0, signature=bytes(64))
        return message

    results: list[PutResult] = []
    middle(alter).put_many(files, on_file=results.append)
    assert sent == [5, 5]
    assert [result.name for result in results if result.receipt] == [name for _, name in files]


def test_a_message_that_is_refused_as_a_whole_fails_its_files_and_no_others(
    middle: Middle, tmp_path: Path
) -> None:
    files = [(tmp_path / str(number), str(number)) for number in range(300)]
    for path, name in files:
        path.write_bytes(name.encode())
    refused: list[Outcomes] = []

    def refuse(message: Message) -> Message:
        if isinstance(message, Outcomes) and not refused:
            refused.append(message)
            return Refused(Reason.QUOTA, 0, "no more")
        return message

    results: list[PutResult] = []
    client = middle(refuse)
    client.put_many(files, on_file=results.append)
    assert [result.name for result in results] == [name for _, name in files]
    assert [type(result.error) for result in results[:256]] == [QuotaExceeded] * 256
    assert all(result.receipt for result in results[256:])
    assert client.put(*files[0]).body.file_name == "0"


def test_outcomes_are_not_taken_for_those_of_other_files(middle: Middle, path: Path) -> None:
    path.write_bytes(b"1234")
    recorded: list[Outcomes] = []

    def exchange(message: Message) -> Message:
        if isinstance(message, Outcomes):
            recorded.append(message)
            return recorded[0]
        return message

    client = middle(exchange)
    client.put(path, "first")
    with pytest.raises(BadReceipt):
        client.put(path, "second")
    assert len(recorded) == 2


def test_a_good_receipt_for_something_else_is_none(
    alice: Client, middle: Middle, path: Path
) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    receipt = alice.put(other, "file")
    stored = Stored.unpack(receipt.packed)

    with pytest.raises(BadReceipt, match="not for what was sent"):
        middle(lambda m: stored if isinstance(m, Stored) else m).put(path, "file")


def test_receipts_are_checked_offline(alice: Client, path: Path, tmp_path: Path) -> None:
    receipt = alice.put(path, "file")
    key = receipt.body.receipt_key

    assert verify_receipt(receipt.packed, {key}) == receipt.body
    for packed, keys, text in (
        (receipt.packed, set(), "no known server"),
        (receipt.packed, {bytes(32)}, "no known server"),
        (flipped(receipt.packed), {key}, "receipt"),
        (receipt.packed[:-1] + bytes((receipt.packed[-1] ^ 1,)), {key}, "was altered"),
        (receipt.packed[:-1], {key}, "not a receipt"),
        (b"", {key}, "not a receipt"),
    ):
        with pytest.raises(BadReceipt, match=text):
            verify_receipt(packed, keys)
    with pytest.raises(ClientError):
        read_receipts(tmp_path / "missing")
    assert receipt.path is not None
    assert read_receipts(receipt.path) == [receipt.packed]
    whole = receipt.path.read_bytes()
    for size in (0, 1, 4, 5, len(whole) - 1):
        receipt.path.write_bytes(whole[:size])
        with pytest.raises(BadReceipt, match="no receipts"):
            read_receipts(receipt.path)
        receipt.path.write_bytes(whole + whole[:size])
        assert read_receipts(receipt.path) == [receipt.packed]


def test_receipts_that_came_together_are_kept_together_and_verify_each_for_itself(
    alice: Client, tmp_path: Path
) -> None:
    files = []
    for number in range(20):
        path = tmp_path / str(number)
        path.write_bytes(b"%d" % number)
        files.append((path, str(number)))
    results: list[PutResult] = []
    alice.put_many(files, on_file=results.append)
    kept = {receipt.body.file_name: receipt for receipt in alice.receipts()}
    assert set(kept) == {name for _, name in files}
    assert len({receipt.path for receipt in kept.values()}) < len(kept)
    for result in results:
        assert result.receipt == kept[result.name]


@pytest.mark.parametrize(
    "how",
    [
        lambda m: replace(m, encrypted_secret=bytes(384)) if isinstance(m, Challenge) else m,
        lambda m: Done() if isinstance(m, Challenge) else m,
        lambda m: Done() if isinstance(m, Connected) else m,
    ],
)
def test_a_false_welcome_is_not_believed(middle: Middle, how: Alter) -> None:
    with pytest.raises(ClientError):
        middle(how).whoami()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../b", "a\x1b[2J", "z", "\u202ea"]
)
def test_names_that_nobody_asked_for_are_not_listed(
    alice: Client, middle: Middle, path: Path, name: str
) -> None:
    alice.put(path, "a/1")

    def rename(message: Message) -> Message:
        if isinstance(message, Entries):
            return Entries(
                more=False, entries=tuple(replace(entry, name=name) for entry in message.entries)
            )
        return message

    with pytest.raises(BrokenProtocol):
        list(middle(rename).list("a/"))


def test_a_list_that_does_not_end_is_not_followed(
    alice: Client, middle: Middle, path: Path
) -> None:
    alice.put(path, "a")
    for how in (
        lambda m: Entries(more=True, entries=()) if isinstance(m, Entries) else m,
        lambda m: Entries(more=True, entries=m.entries * 2) if isinstance(m, Entries) else m,
    ):
        with pytest.raises(BrokenProtocol):
            list(middle(how).list())


def test_an_offset_beyond_the_file_is_not_followed(middle: Middle, path: Path) -> None:
    with pytest.raises(BrokenProtocol):
        middle(lambda m: Begun(1 << 40) if isinstance(m, Begun) else m).put(path, "file")


def test_receipts_that_could_not_be_kept_do_not_spoil_the_next_ones(
    alice: Client, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = alice.put(path, "first"), alice.put(path, "second")
    store = ReceiptStore(tmp_path / "kept")
    (kept,) = store.store([first])
    assert kept.path is not None
    with monkeypatch.context() as patch:

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(NotWritten):
            store.store([second])
    assert read_receipts(kept.path) == [first.packed]
    store.store([second])
    assert read_receipts(kept.path) == [first.packed, second.packed]
    with kept.path.open("ab") as file:
        file.write(b"\1\0\0")  # as a process leaves it that was killed
    ReceiptStore(tmp_path / "kept").store([first, second])
    assert read_receipts(kept.path) == [first.packed, second.packed, first.packed, second.packed]


def test_a_full_file_of_receipts_is_followed_by_another(
    alice: Client, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.receipts._FULL_BYTES", 1)
    store = ReceiptStore(tmp_path / "kept")
    paths = {store.store([alice.put(path, str(number))])[0].path for number in range(3)}
    assert len(paths) == 3
    assert paths == set(store.paths())

"""Files to and from the real server."""

import io
import os
import shutil
import time
from pathlib import Path

import pytest
from Crypto.PublicKey import RSA

from client import Client, PutResult
from client.errors import (
    AccessDenied,
    AlreadyRegistered,
    BadInput,
    Exists,
    FileChanged,
    FileUnusable,
    NameTaken,
    NotFound,
    NotRegistered,
    TooLarge,
    UnusableName,
)
from client.receipts import verify_receipt
from protocol.contexts import SEGMENT_BYTES, SMALL_FILE_BYTES
from protocol.requests4 import Policy
from tests.client.running4 import Server4, serving

pytestmark = pytest.mark.usefixtures("quick_keys")

SIZES = [
    0,
    1,
    SMALL_FILE_BYTES,
    SMALL_FILE_BYTES + 1,
    SEGMENT_BYTES,
    SEGMENT_BYTES + 1,
    3 * SEGMENT_BYTES + SEGMENT_BYTES // 2,
    6 * SEGMENT_BYTES,
]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_back_as_it_was(alice: Client, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = written(tmp_path / "sent", content)
    path.chmod(0o640)
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    steps: list[tuple[int, int | None]] = []

    receipt = alice.put(path, "a/b.bin", progress=lambda *step: steps.append(step))
    entry = alice.get("a/b.bin", tmp_path / "fetched")

    fetched = tmp_path / "fetched"
    assert fetched.read_bytes() == content
    assert fetched.stat().st_mode & 0o7777 == 0o640
    assert fetched.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (receipt.body.size, receipt.body.file_name) == (size, "a/b.bin")
    assert entry.sha256 == receipt.body.sha256
    assert steps[-1] == (size, size)
    assert b"".join(alice.read("a/b.bin")) == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fetched", "sent", "server", "state"]
    assert list((tmp_path / "state/uploads").glob("*")) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_is_stored_without_knowing_its_size(alice: Client, size: int) -> None:
    content = os.urandom(size)

    receipt = alice.put(io.BytesIO(content), "stream", modified=5, mode=0o600)

    assert receipt.body.size == size
    entry = alice.stat("stream")
    assert (entry.size, entry.modified, entry.mode) == (size, 5, 0o600)
    assert b"".join(alice.read("stream")) == content


def test_files_are_listed_found_renamed_and_removed(alice: Client, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"content")
    for name in ("b", "a/2", "a/1", "ä"):
        alice.put(path, name)

    assert [entry.name for entry in alice.list()] == ["a/1", "a/2", "b", "ä"]
    assert [entry.name for entry in alice.list("a/")] == ["a/1", "a/2"]
    assert alice.stat("b").size == 7
    with pytest.raises(Exists):
        alice.rename("b", "a/1")
    alice.rename("b", "a/1", replace=True)
    alice.rename("a/1", "c")
    alice.remove("a/2")
    assert [entry.name for entry in alice.list()] == ["c", "ä"]
    for missing in (
        lambda: alice.stat("b"),
        lambda: alice.remove("b"),
        lambda: alice.rename("b", "d"),
        lambda: alice.get("b", tmp_path / "b"),
        lambda: list(alice.read("b")),
    ):
        with pytest.raises(NotFound):
            missing()
    assert alice.whoami().name == "alice"


def test_more_files_than_one_page_are_listed(alice: Client, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"")
    names = [f"{number:05}" for number in range(1003)]

    alice.put_many((path, name) for name in names)

    assert [entry.name for entry in alice.list()] == names


def test_a_policy_that_forbids_it_keeps_the_file_of_this_name(
    alice: Client, tmp_path: Path
) -> None:
    small, large = written(tmp_path / "s", b"1"), written(tmp_path / "l", bytes(100_000))
    alice.put(small, "name")

    for path in (small, large):
        with pytest.raises(Exists):
            alice.put(path, "name", policy=Policy.NEVER)
        with pytest.raises(Exists):
            alice.put(path, "name", policy=Policy.IF_OLDER, modified=1)
    assert b"".join(alice.read("name")) == b"1"
    assert alice.put(large, "name").body.size == 100_000


def test_one_bad_file_among_many_does_not_stop_the_others(alice: Client, tmp_path: Path) -> None:
    files = [(written(tmp_path / f"{n}", os.urandom(n)), f"many/{n}") for n in range(300)]
    files.insert(7, (tmp_path / "missing", "many/missing"))
    files.insert(9, (tmp_path / "1", "many/../1"))
    files.insert(11, (written(tmp_path / "large", os.urandom(3 << 20)), "many/large"))
    results: list[PutResult] = []
    steps: list[tuple[int, int | None]] = []

    alice.put_many(files, on_file=results.append, progress=lambda *step: steps.append(step))

    failed = {result.name: type(result.error) for result in results if result.receipt is None}
    assert failed == {"many/missing": FileUnusable, "many/../1": UnusableName}
    assert len(results) == len(files)
    assert steps[-1] == (sum(range(300)) + (3 << 20), None)
    assert steps == sorted(steps)
    sizes = {entry.name: entry.size for entry in alice.list("many/")}
    assert sizes["many/299"] == 299
    assert len(sizes) == 301


def test_a_refused_file_among_many_does_not_stop_the_others(alice: Client, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"1")
    alice.put(path, "b")
    results: list[PutResult] = []

    alice.put_many(
        [(path, "a"), (path, "b"), (path, "c")], policy=Policy.NEVER, on_file=results.append
    )

    assert [type(result.error) for result in results] == [type(None), Exists, type(None)]


def test_a_file_that_grows_while_it_is_sent_is_given_up(alice: Client, tmp_path: Path) -> None:
    path = written(tmp_path / "file", bytes(8 << 20))

    def grow(done: int, _total: int | None) -> None:
        if done == SEGMENT_BYTES:
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(FileChanged):
        alice.put(path, "file", progress=grow)
    assert list(alice.list()) == []
    assert alice.put(path, "file").body.size == (8 << 20) + 4


def test_a_name_that_cannot_be_is_refused_before_anything_is_sent(
    alice: Client, tmp_path: Path
) -> None:
    path = written(tmp_path / "file", b"")

    for name in ("", "/a", "a//b", "../a", "a/.", "a\nb", "\udc80", "\u202ea"):
        with pytest.raises(UnusableName):
            alice.put(path, name)
        with pytest.raises(UnusableName):
            alice.get(name, tmp_path / "b")


def test_only_regular_files_are_sent(alice: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(FileUnusable):
            alice.put(path, "name")


def test_a_download_does_not_take_the_place_of_a_directory(alice: Client, tmp_path: Path) -> None:
    alice.put(written(tmp_path / "file", b""), "file")

    for target in (tmp_path, tmp_path / "missing" / "file"):
        with pytest.raises(FileUnusable):
            alice.get("file", target)


def test_a_download_never_gets_set_user_id_bits(alice: Client, tmp_path: Path) -> None:
    alice.put(written(tmp_path / "file", b""), "file", mode=0o6755)

    alice.get("file", tmp_path / "fetched")

    assert (tmp_path / "fetched").stat().st_mode & 0o7777 == 0o755


def test_receipts_are_kept_and_verify_without_the_server(alice: Client, tmp_path: Path) -> None:
    receipt = alice.put(written(tmp_path / "file", b"1"), "file")

    (kept,) = alice.receipts()

    assert kept == receipt
    assert kept.path is not None
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert verify_receipt(kept.packed, [receipt.body.receipt_key]) == receipt.body


def test_a_token_lets_one_client_in(tmp_path: Path) -> None:
    with serving(tmp_path / "server", registration="token") as server:
        client = Client(server.address, directory=tmp_path / "s", fingerprint=server.fingerprint)
        with client, pytest.raises(AccessDenied):
            client.register("alice", "A" * 43)
        with pytest.raises(NotRegistered):
            client.whoami()


def test_a_name_is_registered_once(
    server4: Server4, alice: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AlreadyRegistered):
        alice.register("other")
    other = Client(server4.address, directory=tmp_path / "o", fingerprint=server4.fingerprint)
    monkeypatch.setattr("client.identity4.make_key", lambda: RSA.generate(3072).export_key(pkcs=8))
    with pytest.raises(NameTaken):
        other.register("alice")
    with pytest.raises(BadInput):
        other.register(" alice")
    assert len(other.register("bob")) == 16
    assert other.whoami().name == "bob"
    assert list(other.list()) == []
    other.close()


@pytest.mark.usefixtures("alice")
def test_a_client_that_the_server_does_not_know_is_not_let_in(tmp_path: Path) -> None:
    with serving(tmp_path / "other") as other:
        state = tmp_path / "state"
        (known,) = (state / "identities").glob("*.pem")
        shutil.copy(known, known.with_name(f"{other.address}.pem"))
        with (
            Client(other.address, directory=state, fingerprint=other.fingerprint) as client,
            pytest.raises(AccessDenied),
        ):
            client.whoami()


def test_a_file_beyond_the_servers_limit_is_refused(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "server", max_file_bytes=2 << 20) as server,
        Client(server.address, directory=tmp_path / "s", fingerprint=server.fingerprint) as client,
    ):
        client.register("alice")
        with pytest.raises(TooLarge):
            client.put(written(tmp_path / "file", bytes(3 << 20)), "file")
        with pytest.raises(TooLarge):
            client.put(io.BytesIO(bytes(5 << 20)), "file")
        assert client.put(written(tmp_path / "file", bytes(2 << 20)), "file").body.size == 2 << 20


def test_one_client_does_one_thing_at_a_time(alice: Client, tmp_path: Path) -> None:
    alice.put(written(tmp_path / "file", bytes(3 << 20)), "file")

    pieces = alice.read("file")
    next(pieces)
    with pytest.raises(RuntimeError, match="not ended"):
        alice.stat("file")
    pieces.close()  # type: ignore[attr-defined]
    assert alice.stat("file").size == 3 << 20


@pytest.mark.usefixtures("alice")
def test_a_rate_is_kept(server4: Server4, tmp_path: Path) -> None:
    path = written(tmp_path / "file", os.urandom(500_000))
    with Client(server4.address, directory=tmp_path / "state", limit_rate=1_000_000) as client:
        began = time.monotonic()
        client.put(path, "file")
        sent = time.monotonic() - began
        client.get("file", tmp_path / "fetched")
    assert sent > 0.4
    assert time.monotonic() - began - sent > 0.4

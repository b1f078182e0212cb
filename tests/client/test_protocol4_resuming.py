"""Connections that are cut: nothing is lost, and what was verified is not sent again."""

import errno
import fcntl
import io
import os
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Client, PutResult
from client.errors import ConnectionFailed, CouldNotConnect, FileUnusable, NotWritten
from protocol.contexts import SEGMENT_BYTES
from protocol.messages4 import Begun, Done, Registered, Stored
from tests.client.relay import Message, Pair, relaying, self_signed
from tests.client.running4 import Proxy, Server4, proxy_to
from tests.faults.injection import mounted

pytestmark = pytest.mark.usefixtures("quick_keys")

SIZE = 9 * SEGMENT_BYTES + 12_345
_SLACK_BYTES = 100_000
"""Handshakes, requests and the overhead of TLS, for a few connections."""


@pytest.fixture
def proxy(server4: Server4) -> Iterator[Proxy]:
    with proxy_to(server4.address) as proxy:
        yield proxy


@pytest.fixture
def bob(proxy: Proxy, server4: Server4, tmp_path: Path, waits: list[float]) -> Iterator[Client]:
    """A client whose connections the proxy can cut."""
    with _bob(proxy, server4, tmp_path) as client:
        client.register("bob")
        yield client
    assert waits is not None


def _bob(proxy: Proxy, server4: Server4, tmp_path: Path, retries: int = 4) -> Client:
    return Client(
        proxy.address,
        directory=tmp_path / "bob",
        fingerprint=server4.fingerprint,
        timeout=20,
        retries=retries,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sent"
    path.write_bytes(os.urandom(SIZE))
    return path


def in_flight(cuts: int) -> int:
    """What may be on its way, in buffers of sockets, when a connection is cut; it is sent again."""
    return cuts * SEGMENT_BYTES


@pytest.mark.parametrize("seed", range(4))
def test_an_upload_goes_on_where_it_was_cut(
    bob: Client, proxy: Proxy, path: Path, seed: int
) -> None:
    chosen = random.Random(seed)
    cuts = [chosen.randrange(1000, SIZE // 3) for _ in range(4)]
    bob.close()
    proxy.cut_after(*cuts)
    before = proxy.total

    receipt = bob.put(path, "file")

    assert receipt.body.size == SIZE
    assert b"".join(bob.read("file")) == path.read_bytes()
    # What had reached the server in whole segments was not sent again.
    assert proxy.total - before < SIZE + in_flight(len(cuts)) + _SLACK_BYTES


def test_a_registration_whose_answer_is_lost_is_completed_with_the_same_key(
    server4: Server4, tmp_path: Path, waits: list[float]
) -> None:
    lost: list[Message] = []

    def lose_first(message: Message) -> Message:
        if isinstance(message, Registered) and not lost:
            lost.append(message)
            return None
        return message

    pair = self_signed(tmp_path / "pair")
    with (
        relaying(server4.address, pair, lose_first) as relay,
        Client(relay.address, directory=tmp_path / "carol", fingerprint=pair.fingerprint) as client,
    ):
        client_id = client.register("carol")
    assert lost == [Registered(client_id)]
    assert len(waits) == 1


def test_an_upload_goes_on_in_another_process(
    bob: Client, proxy: Proxy, server4: Server4, path: Path, tmp_path: Path
) -> None:
    bob.close()
    proxy.cut_after(5 * SEGMENT_BYTES + 500_000)
    before = proxy.total
    first = _bob(proxy, server4, tmp_path, retries=0)
    with pytest.raises(ConnectionFailed):
        first.put(path, "file")

    with _bob(proxy, server4, tmp_path) as second:
        second.put(path, "file")
        assert b"".join(second.read("file")) == path.read_bytes()

    assert proxy.total - before < SIZE + in_flight(1) + _SLACK_BYTES
    assert not any((tmp_path / "bob/uploads").iterdir())


def test_another_version_of_a_file_is_another_upload(
    bob: Client, proxy: Proxy, server4: Server4, path: Path, tmp_path: Path
) -> None:
    bob.close()
    proxy.cut_after(5 * SEGMENT_BYTES)
    with pytest.raises(ConnectionFailed):
        _bob(proxy, server4, tmp_path, retries=0).put(path, "file")
    path.write_bytes(os.urandom(SIZE))

    bob.put(path, "file")

    assert b"".join(bob.read("file")) == path.read_bytes()


def test_a_stream_goes_on_where_it_was_cut(bob: Client, proxy: Proxy) -> None:
    content = os.urandom(SIZE)
    bob.close()
    proxy.cut_after(3 * SEGMENT_BYTES + 77, 2 * SEGMENT_BYTES)

    assert bob.put(io.BytesIO(content), "file").body.size == SIZE
    assert b"".join(bob.read("file")) == content


def test_small_files_are_each_stored_once(bob: Client, proxy: Proxy, tmp_path: Path) -> None:
    files = []
    for number in range(400):
        path = tmp_path / f"{number}"
        path.write_bytes(os.urandom(2000))
        files.append((path, f"many/{number:03}"))
    bob.close()
    proxy.cut_after(300_000, 200_000, 5_000)
    results: list[PutResult] = []

    bob.put_many(files, on_file=results.append)

    assert [result.name for result in results] == [name for _, name in files]
    assert all(result.receipt for result in results)
    for path, name in files[::50]:
        assert b"".join(bob.read(name)) == path.read_bytes()


def test_a_download_goes_on_where_it_was_cut(
    bob: Client, server4: Server4, path: Path, tmp_path: Path
) -> None:
    bob.put(path, "file")
    bob.close()
    pair = Pair(server4.data / "certificate.pem", server4.data / "certificate.key")
    identity = next((tmp_path / "bob/identities").glob("*.pem"))
    seen = 0

    def cut_in_the_middle(message: object) -> object:
        nonlocal seen
        seen += type(message).__name__ == "Content"
        return None if seen in (4, 7) and type(message).__name__ == "Content" else message

    with relaying(server4.address, pair, cut_in_the_middle) as relay:
        shutil.copy(identity, identity.with_name(f"{relay.address}.pem"))
        with Client(
            relay.address, directory=tmp_path / "bob", fingerprint=pair.fingerprint
        ) as client:
            client.get("file", tmp_path / "fetched")
            assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
            assert seen == 10 + 2  # each segment once, but for the two that were swallowed
            seen = 0
            assert b"".join(client.read("file")) == path.read_bytes()
            assert seen == 10 + 2
    assert not list(tmp_path.glob(".*"))


def test_a_download_goes_on_in_another_process(alice: Client, path: Path, tmp_path: Path) -> None:
    alice.put(path, "file")

    class Interrupted(Exception):
        pass

    def interrupt(done: int, _total: int | None) -> None:
        if done >= 5 * SEGMENT_BYTES:
            raise Interrupted

    with pytest.raises(Interrupted):
        alice.get("file", tmp_path / "fetched", progress=interrupt)
    (part,) = tmp_path.glob(".fetched.*.part")
    with part.open("ab") as file:
        file.write(b"torn")
    steps: list[int] = []
    alice.get("file", tmp_path / "fetched", progress=lambda done, _: steps.append(done))

    assert steps[0] == 5 * SEGMENT_BYTES
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_download_that_fills_the_disk_says_what_it_keeps_and_goes_on(
    alice: Client, path: Path, tmp_path: Path
) -> None:
    alice.put(path, "file")
    disk = tmp_path / "disk"
    with mounted(disk, SIZE):
        filler = disk / "filler"
        filler.write_bytes(bytes(SIZE // 2))
        with pytest.raises(NotWritten) as caught:
            alice.get("file", disk / "fetched")
        (part,) = disk.glob(".fetched.*.part")
        kept = part.stat().st_size // SEGMENT_BYTES * SEGMENT_BYTES
        assert kept
        assert str(caught.value) == (
            f"'{disk}/fetched' cannot be written: No space left on device; {kept} bytes of it are"
            f" kept in '{part}', and the same command goes on from there"
        )

        filler.unlink()
        steps: list[int] = []
        with mounted(disk / "more", 2 * SIZE):
            (disk / "more" / part.name).write_bytes(part.read_bytes())
            alice.get("file", disk / "more/fetched", progress=lambda done, _: steps.append(done))
            assert steps[0] == kept
            assert (disk / "more/fetched").read_bytes() == path.read_bytes()


def test_a_download_of_which_nothing_can_be_used_again_leaves_nothing(
    alice: Client, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(os.urandom(SEGMENT_BYTES))
    alice.put(tmp_path / "small", "small")
    disk = tmp_path / "disk"
    with mounted(disk, SEGMENT_BYTES // 2):
        with pytest.raises(NotWritten) as caught:
            alice.get("small", disk / "fetched")

        assert str(caught.value) == f"'{disk}/fetched' cannot be written: No space left on device"
        assert not list(disk.iterdir())


def test_where_a_download_cannot_go_is_told(alice: Client, tmp_path: Path) -> None:
    alice.put(io.BytesIO(b"content"), "file")
    (tmp_path / "there").mkdir()
    for target, error, message in (
        ("there", FileUnusable, "is a directory; name a file"),
        ("missing/file", FileUnusable, "there is no directory '.*missing'; make it first"),
        ("x" * 256, NotWritten, "cannot be written: File name too long"),
    ):
        with pytest.raises(error, match=message):
            alice.get("file", tmp_path / target)


def test_a_part_that_another_process_has_just_finished_is_not_written_to(
    alice: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, flock = tmp_path / "fetched", fcntl.flock
    alice.put(io.BytesIO(b"new"), "file")

    def finish_first(descriptor: int, operation: int) -> None:
        for part in tmp_path.glob(".fetched.*.part"):
            part.write_bytes(b"theirs")
            part.replace(target)
        flock(descriptor, operation)

    monkeypatch.setattr("client.downloading.fcntl.flock", finish_first)
    with pytest.raises(NotWritten, match="is being downloaded already"):
        alice.get("file", target)

    assert target.read_bytes() == b"theirs"


def test_a_directory_where_nothing_can_be_locked_is_told(
    alice: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.put(io.BytesIO(b"content"), "file")

    def no_locks(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("client.downloading.fcntl.flock", no_locks)
    with pytest.raises(NotWritten, match="part' cannot be locked: No locks available"):
        alice.get("file", tmp_path / "fetched")


def test_a_part_of_another_version_is_not_used(alice: Client, path: Path, tmp_path: Path) -> None:
    alice.put(path, "file")
    (tmp_path / f".fetched.{'ab' * 16}.part").write_bytes(bytes(3 << 20))
    (tmp_path / f".fetched.more.{'ab' * 16}.part").write_bytes(b"of another target")

    alice.get("file", tmp_path / "fetched")

    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.glob(".*")] == [f".fetched.more.{'ab' * 16}.part"]


@pytest.mark.parametrize("request_type", [Stored, Done, Begun])
def test_an_answer_that_is_lost_is_had_again(
    alice: Client, server4: Server4, path: Path, tmp_path: Path, request_type: type
) -> None:
    pair = Pair(server4.data / "certificate.pem", server4.data / "certificate.key")
    identity = next((tmp_path / "state/identities").glob("*.pem"))
    lost: list[object] = []

    def lose_each_first(message: object) -> object:
        if isinstance(message, request_type) and len(lost) < 3:
            lost.append(message)
            return None
        return message

    small = tmp_path / "small"
    small.write_bytes(b"1")
    with relaying(server4.address, pair, lose_each_first) as relay:
        shutil.copy(identity, identity.with_name(f"{relay.address}.pem"))
        with Client(
            relay.address, directory=tmp_path / "state", fingerprint=pair.fingerprint
        ) as client:
            assert client.put(path, "large").body.size == SIZE
            assert client.put(small, "small").body.size == 1
            assert client.put(io.BytesIO(bytes(SIZE)), "stream").body.size == SIZE
            client.rename("small", "other")
            client.remove("other")
    assert lost
    assert [entry.name for entry in alice.list()] == ["large", "stream"]


def test_a_server_that_is_not_there_is_tried_as_often_as_asked(
    tmp_path: Path, waits: list[float]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    told: list[tuple[str, float, int]] = []
    client = Client(
        address,
        directory=tmp_path,
        fingerprint=f"SHA256:{'A' * 43}",
        retries=3,
        on_delay=lambda error, seconds, number: told.append((str(error), seconds, number)),
    )

    with pytest.raises(CouldNotConnect):
        client.presented_fingerprint()
    assert len(waits) == 3
    refused = f"cannot connect to {address}: Connection refused; is the server running?"
    assert told == [(refused, seconds, number) for number, seconds in enumerate(waits, 1)]

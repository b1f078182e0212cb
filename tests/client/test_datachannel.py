"""Content beside TLS: what happens to it on the way, and where there is no way for it."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from client import Client
from client.errors import ConnectionFailed, ContentTampered, QuotaExceeded
from protocol.channel import DATA_PREFACE, TLS_HANDSHAKE
from protocol.contexts import SEGMENT_BYTES
from server.errors import StorageError
from tests.client.running4 import Server4, serving

pytestmark = pytest.mark.usefixtures("quick_keys", "waits")

SIZE = 6 * SEGMENT_BYTES + 4321
Alter = Callable[[int, bytes], bytes | None]
"""Called with how many bytes have passed, and the next ones; None cuts the connection."""


def untouched(_passed: int, data: bytes) -> bytes:
    return data


@dataclass
class Middle:
    """Lets TLS pass; what is not TLS goes through `to_server` and `to_client`."""

    address: str = ""
    to_server: Alter = untouched
    to_client: Alter = untouched
    opened: int = 0
    passed: dict[str, int] = field(default_factory=lambda: {"TLS": 0, "data": 0})

    def cut_next_at(self, size: int) -> None:
        """Cuts the first data connection that takes so many bytes to the client."""

        def alter(passed: int, data: bytes) -> bytes | None:
            if passed < size:
                return data
            self.to_client = untouched
            return None

        self.to_client = alter


@contextmanager
def middle(target: str) -> Iterator[Middle]:
    host, _, port = target.rpartition(":")
    made = Middle()

    def forward(source: socket.socket, sink: socket.socket, kind: str, way: str) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                altered = getattr(made, way)(passed, data) if kind == "data" else data
                if altered is None:
                    break
                passed += len(data)
                if way == "to_server":
                    made.passed[kind] += len(data)
                sink.sendall(altered)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept(listening: socket.socket) -> None:
        while True:
            try:
                near = listening.accept()[0]
                kind = "TLS" if near.recv(1, socket.MSG_PEEK)[:1] == b"\x16" else "data"
                made.opened += kind == "data"
                far = socket.create_connection((host, int(port)))
            except OSError:
                return
            ends.extend((near, far))
            threading.Thread(target=forward, args=(near, far, kind, "to_server")).start()
            threading.Thread(target=forward, args=(far, near, kind, "to_client")).start()

    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made.address = f"127.0.0.1:{listening.getsockname()[1]}"
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        yield made
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
    for end in ends:
        end.close()


@pytest.fixture
def between(server4: Server4) -> Iterator[Middle]:
    with middle(server4.address) as made:
        yield made


@pytest.fixture
def client(between: Middle, server4: Server4, tmp_path: Path) -> Iterator[Client]:
    with Client(
        between.address, directory=tmp_path / "state", fingerprint=server4.fingerprint, timeout=20
    ) as client:
        client.register("carol")
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sent"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_content_of_large_files_travels_beside_tls_in_both_directions(
    client: Client, between: Middle, path: Path, tmp_path: Path
) -> None:
    client.put(path, "file")
    client.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    assert between.opened == 1
    assert between.passed["data"] > SIZE
    assert between.passed["TLS"] < SEGMENT_BYTES


def test_nothing_of_a_file_can_be_read_beside_tls(
    client: Client, between: Middle, tmp_path: Path
) -> None:
    seen = bytearray()

    def watch(_passed: int, data: bytes) -> bytes:
        seen.extend(data)
        return data

    between.to_server = watch
    path = tmp_path / "secret-name"
    path.write_bytes(b"attack at dawn! " * (SIZE // 16))
    client.put(path, "secret-name")
    assert seen.startswith(DATA_PREFACE)
    assert DATA_PREFACE[0] != TLS_HANDSHAKE
    for secret in (b"attack at dawn!", b"secret-name", b"carol"):
        assert secret not in seen


def test_small_files_need_no_data_connection(
    client: Client, between: Middle, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"1")
    client.put(tmp_path / "small", "small")
    assert b"".join(client.read("small")) == b"1"
    assert between.opened == 0


def test_where_only_tls_passes_content_goes_through_it(
    client: Client, between: Middle, path: Path, tmp_path: Path
) -> None:
    between.to_server = lambda _passed, _data: None
    client.put(path, "file")
    client.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    assert between.opened == 1  # once is enough to know
    assert between.passed["TLS"] > SIZE


@pytest.mark.parametrize("place", [5, 60, 200, SEGMENT_BYTES, 3 * SEGMENT_BYTES + 77])
def test_a_flipped_bit_on_the_way_to_the_server_is_never_stored(
    client: Client, between: Middle, path: Path, place: int
) -> None:
    flips = [place]

    def flip(passed: int, data: bytes) -> bytes:
        if flips and passed <= flips[0] < passed + len(data):
            at = flips.pop() - passed
            return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        return data

    between.to_server = flip
    receipt = client.put(path, "file")
    assert not flips
    assert receipt.body.size == SIZE
    assert b"".join(client.read("file")) == path.read_bytes()


def test_a_flipped_bit_on_the_way_to_the_client_is_never_taken(
    client: Client, between: Middle, path: Path, tmp_path: Path
) -> None:
    client.put(path, "file")

    def flip(passed: int, data: bytes) -> bytes:
        return data[:-1] + bytes((data[-1] ^ 1,)) if passed > 2 * SEGMENT_BYTES else data

    between.to_client = flip
    with contextlib.suppress(ContentTampered):  # else what was hit was no content
        client.get("file", tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == path.read_bytes()  # through TLS, in the end
    between.to_client = untouched
    client.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()


def test_a_download_whose_data_connection_is_cut_goes_on(
    client: Client, between: Middle, path: Path, tmp_path: Path
) -> None:
    client.put(path, "file")
    between.cut_next_at(3 * SEGMENT_BYTES)
    client.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    between.cut_next_at(2 * SEGMENT_BYTES)
    assert b"".join(client.read("file")) == path.read_bytes()


def test_what_the_server_refuses_in_the_middle_of_a_stream_is_told(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "server", max_bytes_per_client=70 * 2**20) as server,
        Client(
            server.address, directory=tmp_path / "state", fingerprint=server.fingerprint
        ) as client,
    ):
        client.register("carol")
        endless = (tmp_path / "sparse").open("w+b")
        with endless:
            endless.truncate(200 * 2**20)
            with pytest.raises(QuotaExceeded):
                client.put(endless, "file")
        assert list(client.list()) == []


def test_who_lets_data_connections_begin_and_no_more_is_got_around(
    client: Client, between: Middle, path: Path, tmp_path: Path
) -> None:
    between.to_server = lambda passed, data: data if passed < SEGMENT_BYTES else None
    client.put(path, "file")
    client.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    assert between.passed["TLS"] > SEGMENT_BYTES


def test_a_download_that_the_servers_disk_ends_is_told_why(
    client: Client, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put(path, "file")

    def failing(_stream: object, _buffer: object) -> int:
        raise StorageError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("server.ownfiles.read_fully", failing)
        with pytest.raises(ConnectionFailed, match="disk or database"):
            client.get("file", tmp_path / "fetched")
    client.get("file", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()

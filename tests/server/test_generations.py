"""Every published generation, in every way that real clients speak it, against a real server."""

import functools
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import crypto
from tests.peer.cksum import cksum
from tests.peer.client import PeerClient
from tests.peer.generations import GENERATIONS
from tests.peer.style import Packets, Style
from tests.server.hostile_sessions import private_key
from tests.server.running import Running, running

IN_PACKETS = ["2024a", "2024c"]
LARGE_BYTES = 3 * 2**20 + 5

SPECIFIED = Style()
COMMON_STYLES = {
    "as-specified": SPECIFIED,
    "unterminated-names": Style(unterminated_names=True),
    "garbage-after-nul": Style(garbage_after_nul=True),
    "garbage-id": Style(garbage_id_when_registering=True),
    "byte-by-byte": Style(piece_size=1),
    "odd-pieces": Style(piece_size=37),
    "short-der": Style(public_key_bits=1023),
}
PACKET_STYLES = {
    "slices-of-1000": Style(packet_size=1000),
    "slices-of-7": Style(packet_size=7),
    "own-ciphertexts-of-1000": Style(Packets.OWN_CIPHERTEXTS, packet_size=1000),
    "own-ciphertexts-of-16": Style(Packets.OWN_CIPHERTEXTS, packet_size=16),
    "filled-slices-of-1000": Style(Packets.FILLED_SLICES, packet_size=1000),
    "filled-slices-of-4096": Style(Packets.FILLED_SLICES, packet_size=4096),
}
ON_MARIADB = {
    "2023a": COMMON_STYLES["garbage-after-nul"],
    "2023b": COMMON_STYLES["short-der"],
    "2024a": PACKET_STYLES["own-ciphertexts-of-1000"],
    "2024c": PACKET_STYLES["slices-of-1000"],
}

MATRIX = [
    pytest.param("sqlite", generation, style, id=f"sqlite-{generation}-{name}")
    for generation in GENERATIONS
    for name, style in (
        COMMON_STYLES | (PACKET_STYLES if generation in IN_PACKETS else {})
    ).items()
] + [
    pytest.param("mariadb", generation, style, id=f"mariadb-{generation}")
    for generation, style in ON_MARIADB.items()
]  # fmt: skip

every_way = pytest.mark.parametrize(
    ("database_url", "generation", "style"), MATRIX, indirect=["database_url"]
)
every_generation = pytest.mark.parametrize(
    ("database_url", "generation"),
    [("sqlite", generation) for generation in GENERATIONS] + [("mariadb", "2024c")],
    indirect=["database_url"],
)


@functools.cache
def short_key() -> rsa.RSAPrivateKey:
    """A key whose DER is shorter than its field."""
    return crypto.make_key(1023)


def settings(generation: str, database_url: str) -> dict[str, str]:
    """A server that gives the shared codes to this generation."""
    shared = generation if generation in {"2023b", "2024a"} else "2024a"
    return {"generation_1025": shared, "database": database_url}


def client_of(server: Running, generation: str, style: Style = SPECIFIED) -> PeerClient:
    """A client that is not registered yet; with names as long as they may be where it matters."""
    key = short_key() if style.public_key_bits == 1023 else private_key()
    name = "n" * 255 if style.unterminated_names else "peer"
    return PeerClient(server.port, generation, name=name, style=style, private_key=key)


def objects(server: Running) -> set[Path]:
    """Every file that lies under a client's directory."""
    return {path for path in server.data.glob("*/*") if path.parent.name != "staging"}


@every_way
def test_a_run_stores_the_bytes_and_their_checksum(
    tmp_path: Path, database_url: str, generation: str, style: Style
) -> None:
    content = os.urandom(2500)
    file_name = "f" * 255 if style.unterminated_names else "file.bin"
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        with client_of(server, generation, style) as client:
            result = client.run(file_name, content)
        assert result.verified
        assert (result.registered, result.times_sent) == (True, 1)
        assert client.violations == []
        assert server.stored() == {(client.name.decode(), file_name): content}
        assert client.client_id is not None
        (file,) = server.repository.files(client.client_id)
        assert (file.size, file.cksum) == (len(content), cksum(content))


@every_way
def test_a_known_client_reconnects_and_sends_another_file(
    tmp_path: Path, database_url: str, generation: str, style: Style
) -> None:
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        client = client_of(server, generation, style)
        with client:
            client.run("first", b"first")
        first_key = client.aes_key
        with client:
            result = client.run("second", b"second" * 300)
        assert not result.registered
        assert client.aes_key != first_key
        assert sorted(server.stored().values()) == [b"first", b"second" * 300]
        assert client.violations == []


@every_generation
@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_a_file_is_kept_once_the_checksum_is_right(
    tmp_path: Path, database_url: str, generation: str, wrong: int
) -> None:
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        with client_of(server, generation, Style(wrong_crc=wrong)) as client:
            result = client.run("file.bin", b"content" * 400)
        assert (result.verified, result.times_sent) == (True, wrong + 1)
        assert server.stored() == {("peer", "file.bin"): b"content" * 400}
        assert client.violations == []


@every_generation
def test_giving_up_leaves_nothing_visible(
    tmp_path: Path, database_url: str, generation: str
) -> None:
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        with client_of(server, generation, Style(wrong_crc=4)) as client:
            assert not client.run("file.bin", b"content").verified
            assert server.staged() == []
        assert server.stored() == {}


@every_generation
def test_giving_up_keeps_the_older_version(
    tmp_path: Path, database_url: str, generation: str
) -> None:
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        client = client_of(server, generation)
        with client:
            client.run("file.bin", b"older")
        newer = client_of(server, generation, Style(wrong_crc=4))
        newer.client_id = client.client_id
        with newer:
            assert not newer.run("file.bin", b"newer").verified
        assert server.stored() == {("peer", "file.bin"): b"older"}


@every_generation
def test_an_empty_file_is_stored(tmp_path: Path, database_url: str, generation: str) -> None:
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        with client_of(server, generation) as client:
            assert client.run("empty", b"").verified
        assert server.stored() == {("peer", "empty"): b""}


@every_generation
@pytest.mark.parametrize("size", [15, 16, 17, 256 * 1024, LARGE_BYTES])
def test_a_file_of_this_size_is_stored(
    tmp_path: Path, database_url: str, generation: str, size: int
) -> None:
    content = os.urandom(size)
    style = Style(packet_size=100_001)
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        with client_of(server, generation, style) as client:
            assert client.run("large", content).verified
        assert server.stored() == {("peer", "large"): content}


@pytest.mark.parametrize("generation", IN_PACKETS)
def test_a_large_file_of_packets_of_their_own_ciphertext_is_stored(
    tmp_path: Path, generation: str
) -> None:
    content = os.urandom(LARGE_BYTES)
    style = Style(Packets.OWN_CIPHERTEXTS, packet_size=300_000)
    with running(tmp_path / "data", generation_1025="2024a") as server:
        with client_of(server, generation, style) as client:
            assert client.run("large", content).verified
        assert server.stored() == {("peer", "large"): content}


@every_generation
def test_a_replaced_files_old_object_is_removed(
    tmp_path: Path, database_url: str, generation: str
) -> None:
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        client = client_of(server, generation)
        with client:
            client.run("file.bin", b"older")
        (old,) = objects(server)
        with client:
            client.run("file.bin", b"newer")
        (new,) = objects(server)
        assert new != old
        assert server.stored() == {("peer", "file.bin"): b"newer"}
        assert server.repository.superseded() == []


@every_generation
def test_a_restarted_server_knows_its_clients_and_files(
    tmp_path: Path, database_url: str, generation: str
) -> None:
    with (
        running(tmp_path / "data", **settings(generation, database_url)) as server,
        client_of(server, generation) as client,
    ):
        client.run("before", b"before")
    with running(tmp_path / "data", **settings(generation, database_url)) as server:
        again = client_of(server, generation)
        again.client_id = client.client_id
        with again:
            assert not again.run("after", b"after").registered
        assert server.stored() == {
            ("peer", "before"): b"before",
            ("peer", "after"): b"after",
        }


@pytest.mark.parametrize("generation_1025", ["2023b", "2024a"])
def test_one_server_serves_clients_of_three_generations(
    tmp_path: Path, generation_1025: str
) -> None:
    spoken = ["2023a", generation_1025, "2024c"]
    with running(tmp_path / "data", generation_1025=generation_1025) as server:
        for generation in spoken:
            client = client_of(server, generation)
            client.name = generation.encode()
            with client:
                client.run("file.bin", generation.encode())
        assert server.stored() == {(name, "file.bin"): name.encode() for name in spoken}

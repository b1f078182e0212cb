"""`trust` and `receipts`: the state of this client, without any server."""

import json
from pathlib import Path

import pytest
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from client.address import Address
from client.commands.running import run
from client.errors import ExitStatus
from client.known_servers import KnownServers
from client.receipts import Receipt, ReceiptStore
from client.state import Places
from protocol.merkle import leaf_hash
from protocol.receipts import ReceiptBody, signed_bytes
from protocol.responses4 import Stored
from tests.client.commands.fake import CLIENT_ID, FINGERPRINT, FakeServer

OTHER = "SHA256:" + "B" * 42 + "A"


def offline(*argv: str) -> int:
    server = FakeServer()
    status = run(argv, server.connect)
    assert server.servers == []
    return status


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("where", [[], ["--directory", "here"]])
def test_trust_add_list_remove(capsys: pytest.CaptureFixture[str], where: list[str]) -> None:
    assert offline("trust", "add", "Host.example:1", FINGERPRINT, *where) == 0
    assert offline("trust", "add", "[::1]:2", OTHER, *where) == 0
    assert offline("trust", "list", *where) == 0
    assert lines(capsys) == [f"host.example:1 {FINGERPRINT}", f"[::1]:2 {OTHER}"]

    assert offline("trust", "remove", "host.example:1", *where) == 0
    assert offline("trust", "list", "--json", *where) == 0
    assert json.loads(lines(capsys)[0]) == {"server": "[::1]:2", "fingerprint": OTHER}


def test_trust_add_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    offline("trust", "add", "h:1", FINGERPRINT)
    offline("trust", "add", "h:1", OTHER)
    offline("trust", "list")

    assert lines(capsys) == [f"h:1 {OTHER}"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "h:1", "SHA256:short"],
        ["add", "h", FINGERPRINT],
        ["remove", "h:1"],
        ["remove", "h"],
    ],
)
def test_trust_in_what_cannot_be(arguments: list[str]) -> None:
    assert offline("trust", *arguments) == ExitStatus.BAD_INPUT


@pytest.mark.parametrize("arguments", [["trust"], ["receipts"], ["trust", "add", "h:1"]])
def test_an_action_is_needed(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        offline(*arguments)

    assert caught.value.code == ExitStatus.BAD_INPUT


@pytest.fixture
def kept() -> list[Path]:
    """Two receipts of a server that is known."""
    places = Places.of(None)
    key = ECC.generate(curve="ed25519")
    public = key.public_key().export_key(format="raw")
    known = KnownServers(places.known_servers)
    known.trust(Address("h", 1), bytes(32))
    known.add_receipt_key(Address("h", 1), public)
    paths = []
    for number in range(2):
        body = ReceiptBody(
            public, CLIENT_ID, bytes([number]) * 16, 5, 1_700_000_000 + number, bytes(32),
            "alice", f"file {number}",
        )  # fmt: skip
        signed = signed_bytes(1, leaf_hash(body.pack()))
        packed = Stored(body.pack(), 0, 1, (), eddsa.new(key, "rfc8032").sign(signed)).pack()
        (stored,) = ReceiptStore(places.receipts).store([Receipt(body, packed)])
        assert stored.path is not None
        paths.append(stored.path)
    return paths


@pytest.mark.usefixtures("kept")
def test_receipts_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert offline("receipts", "list") == 0

    first, second = lines(capsys)
    assert first.split(maxsplit=3) == ["2023-11-14T22:13:20Z", "5", "0" * 12, "file 0"]
    assert second.endswith("file 1")


def test_receipts_verify(kept: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert offline("receipts", "verify") == 0
    assert offline("receipts", "verify", str(kept[0])) == 0

    shown = lines(capsys)
    assert len(shown) == 3
    assert shown[2] == f"{kept[0]}: good, file 0, SHA-256 {'0' * 64}"


def test_a_receipt_that_was_altered(kept: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    kept[0].write_bytes(kept[0].read_bytes().replace(b"file 0", b"file 9"))
    assert offline("receipts", "verify", "--json") == ExitStatus.FILE_FAILED

    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert {row["file"]: row.get("verified") for row in rows[:-1]} == {
        str(kept[0]): None,
        str(kept[1]): True,
    }
    assert (rows[-1]["failed"], rows[-1]["status"]) == (1, 1)
    assert "it was altered" in captured.err


@pytest.mark.usefixtures("kept")
def test_a_receipt_of_an_unknown_server(work: Path) -> None:
    known = Places.of(None).known_servers
    known.unlink()
    (work / "no receipt").write_bytes(b"?")

    assert offline("receipts", "verify") == ExitStatus.FILE_FAILED
    assert offline("receipts", "verify", "missing") == ExitStatus.FILE_FAILED
    assert offline("receipts", "verify", "no receipt") == ExitStatus.FILE_FAILED


def test_without_receipts(capsys: pytest.CaptureFixture[str]) -> None:
    assert offline("receipts", "list") == 0
    assert lines(capsys) == []

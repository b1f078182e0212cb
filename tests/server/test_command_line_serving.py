"""`python -m server` as a process that clients talk to: its signals, warnings and log."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.channel import format_fingerprint
from tests.peer import wire
from tests.peer.client import PeerClient
from tests.peer4.client import Peer4
from tests.server import commands
from tests.server.on_disk import OnDisk

LOOPBACK = ("--host", "127.0.0.1", "--port", "0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_well(tmp_path: Path, number: int) -> None:
    with commands.serving(tmp_path, *LOOPBACK) as server:
        assert server.end(number) == 0
    assert not [line for line in server.logged if "Traceback" in line]


ANYWHERE = ("--host", "0.0.0.0", "--port", "0")  # noqa: S104 - for the length of a test


def test_protocol_3_is_served_to_other_machines_when_asked(tmp_path: Path) -> None:
    with commands.serving(tmp_path, *ANYWHERE, "--allow-protocol-3") as server:
        _run_of(server.port)
        assert server.end(signal.SIGTERM) == 0


def test_protocol_3_is_not_served_to_other_machines_unasked(tmp_path: Path) -> None:
    with commands.serving(tmp_path, *ANYWHERE) as server:
        with (
            PeerClient(server.port) as client,
            pytest.raises((wire.ConnectionEnded, OSError)),
        ):
            client.register()
        with Peer4(server.port, client_id=bytes(16)) as newer:
            assert newer.challenge()
        assert server.end(signal.SIGTERM) == 0
    refusals = [line for line in server.logged if "protocol 3 is not allowed here" in line]
    assert len(refusals) == 1
    assert "connection from 127.0.0.1 refused" in refusals[0]


def test_the_certificate_that_is_announced_is_the_one_presented(tmp_path: Path) -> None:
    said = []
    for _ in range(2):  # and it is the same after a restart
        with commands.serving(tmp_path, *LOOPBACK) as server, Peer4(server.port) as client:
            said.append(server.said[0])
            presented = format_fingerprint(client.fingerprint)
        assert said[-1] == f"certificate {presented}\n"
    assert said[0] == said[1]


def test_a_data_directory_that_cannot_be_printed_is_served(tmp_path: Path) -> None:
    data = os.fsdecode(b"\xff")
    with commands.serving(
        tmp_path, *LOOPBACK, "--data", data, PYTHONIOENCODING="utf-8:strict"
    ) as server:
        assert server.end(signal.SIGTERM) == 0
    assert server.said[1].endswith("files in \\udcff\n")


def _wait_for(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + commands.SECONDS
    while not seen():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_second_signal_ends_the_grace_time(tmp_path: Path) -> None:
    with (
        commands.serving(tmp_path, *LOOPBACK, "--grace-seconds", "1000") as server,
        PeerClient(server.port) as client,
    ):
        client.register()
        client.send_public_key()
        client.send_file("a", b"content")  # awaits its verdict
        server.process.send_signal(signal.SIGTERM)
        _wait_for(lambda: any("stopping" in line for line in server.logged))
        assert server.end(signal.SIGTERM) == 0
    assert "stopped before every transfer had finished" in server.logged[-1]


def test_a_transfer_that_ends_within_the_grace_time_is_kept(tmp_path: Path) -> None:
    with commands.serving(tmp_path, *LOOPBACK, "--grace-seconds", "1000") as server:
        with PeerClient(server.port) as client:
            client.register()
            client.send_public_key()
            client.send_file("a", b"content")
            server.process.send_signal(signal.SIGTERM)
            _wait_for(lambda: any("stopping" in line for line in server.logged))
            client.crc_valid("a")
        assert server.process.wait(commands.SECONDS) == 0
    listed = commands.run(tmp_path, "files", "list", "--json")
    assert json.loads(listed.stdout)["name"] == "a"


def _warnings(directory: Path, *arguments: str) -> list[str]:
    with commands.serving(directory, "--log-level=error", *arguments) as server:
        server.end(signal.SIGTERM)
    return server.logged


def test_without_port_info_the_server_warns_once(tmp_path: Path) -> None:
    # Whether the default port is free does not matter: the warning comes first.
    assert _warnings(tmp_path)[0] == "warning: no port.info; using port 1234\n"


def test_an_unusable_port_info_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "port.info").write_text("seven\n")
    assert _warnings(tmp_path)[0].startswith("warning: port.info holds no usable port")


def test_a_port_from_elsewhere_is_no_reason_to_warn(tmp_path: Path) -> None:
    assert _warnings(tmp_path, "--port=0") == []


def _run_of(port: int) -> PeerClient:
    with PeerClient(port, name="Alice B\u00f6b") as client:
        assert client.run("report.txt", b"content").verified
    return client


def test_each_request_is_logged_as_json_with_what_an_operator_asks_for(tmp_path: Path) -> None:
    with commands.serving(tmp_path, *LOOPBACK, "--log-format=json") as server:
        client = _run_of(server.port)
        server.end(signal.SIGTERM)
    records: list[dict[str, Any]] = [json.loads(line) for line in server.logged]
    requests = [record for record in records if record["message"] == "request"]
    assert [record["request"] for record in requests] == [
        "Register", "SendPublicKey", "SendFile", "ChecksumValid",
    ]  # fmt: skip
    assert {record["outcome"] for record in requests} == {"ok"}
    assert {record["client"] for record in requests[1:]} == {client.known_id.hex()}
    assert requests[2]["bytes"] == 16
    assert all(record["seconds"] >= 0 for record in requests)


def test_each_request_is_logged_as_one_plain_line(tmp_path: Path) -> None:
    with commands.serving(tmp_path, *LOOPBACK) as server:
        client = _run_of(server.port)
        server.end(signal.SIGTERM)
    requests = [line for line in server.logged if " INFO request " in line]
    assert len(requests) == 4
    pattern = (
        rf" client={client.known_id.hex()} request=SendFile generation=2023a"
        r" outcome=ok bytes=16 seconds=[0-9.e-]+\n"
    )
    assert re.search(pattern, requests[2])


def test_a_password_is_never_printed_or_logged(tmp_path: Path) -> None:
    arguments = (*LOOPBACK, "--log-level=debug")
    with commands.serving(tmp_path, *arguments, EFT_DATABASE_PASSWORD="hunter2") as server:
        _run_of(server.port)
        server.end(signal.SIGTERM)
    assert "hunter2" not in "".join(server.said + server.logged)


def test_damaged_files_are_reported_at_the_start(tmp_path: Path) -> None:
    with OnDisk(tmp_path / "eft-data") as before:
        before.register()
        upload = before.keep("a\nb", b"content")
        before.storage.path(upload.client_id, upload.object_id).write_bytes(b"")
    with commands.serving(tmp_path, *LOOPBACK, "--log-level=error") as server:
        server.end(signal.SIGTERM)
    line, whole = server.logged
    assert line.endswith(
        r"the bytes of 'a\nb' of client 'Alice' are gone or of another size" + "\n"
    )
    assert "acknowledged files that are not whole: 1; if this data directory is an older" in whole

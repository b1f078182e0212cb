"""A run as a whole, as far as it is not the protocol's."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.batch import Options
from client.connection import Connection
from client.content import largest_file_bytes
from client.errors import ExitStatus
from client.retrying import FIRST_WAIT_SECONDS
from client.session3 import Session3
from protocol.generations import GENERATIONS
from tests.client.running import run, run_against
from tests.peer.behaviour import Behaviour
from tests.peer.server import PeerServer
from tests.server.running import running

GENERATION = GENERATIONS["2023a"]


def write_transfer_info(directory: Path, server: PeerServer, *files: str) -> None:
    lines = [f"{server.host}:{server.port}", "alice", *files]
    (directory / "transfer.info").write_text("\n".join(lines))


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_the_run_of_transfer_info(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"A")
    (tmp_path / "sub" / "b").write_bytes(b"B")
    with PeerServer() as server:
        write_transfer_info(tmp_path, server, "a", "sub/b")
        result = run(tmp_path)
        server.settle()

        assert server.violations == []
        assert server.files == {("alice", "a"): b"A", ("alice", "b"): b"B"}
    assert result.status is ExitStatus.VERIFIED
    assert [(file.file, file.name, file.size) for file in result.results] == [
        ("a", "a", 1),
        ("sub/b", "b", 1),
    ]


def test_a_file_that_cannot_be_sent_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"A")
    (tmp_path / "COM1").write_bytes(b"device")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", largest_file_bytes(GENERATION) + 1)
    with PeerServer() as server:
        write_transfer_info(tmp_path, server, "missing", "a", "COM1", "large", ".")
        result = run(tmp_path)
        server.settle()

        assert server.files == {("alice", "a"): b"A"}
    assert result.status is ExitStatus.FILE_FAILED
    assert sorted(result.outcomes) == ["failed"] * 4 + ["verified"]
    lines = error_lines(capsys)
    assert lines[0].startswith("Fatal: transfer.info, line 3: ")
    assert lines[0].endswith("No such file or directory")
    assert lines[1].startswith("Fatal: transfer.info, line 5: ")
    assert "rename the file" in lines[1]
    assert "protocol 3 carries at most" in lines[2]
    assert "is not a regular file" in lines[3]


def test_when_no_file_can_be_sent_nobody_is_bothered(tmp_path: Path) -> None:
    with PeerServer() as server:
        result = run_against(server, tmp_path, "missing")

        assert server.log == []
    assert result.status is ExitStatus.FILE_FAILED
    assert result.results[0].error is not None
    assert not (tmp_path / "me.info").exists()


def test_two_files_of_one_name_are_refused_before_one_replaces_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for directory in ("x", "y"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "same").write_bytes(b"")
    with PeerServer() as server:
        write_transfer_info(tmp_path, server, "x/same", "y/same")
        result = run(tmp_path)

        assert server.log == []
    assert result.status is ExitStatus.BAD_INPUT
    assert result.outcomes == ["unsent", "unsent"]
    assert error_lines(capsys)[0].startswith(
        "Fatal: transfer.info, line 4: 'y/same' and 'x/same' would have the same name"
    )


def test_a_file_that_changes_while_it_is_sent_fails_and_the_next_one_is_sent(
    tmp_path: Path,
) -> None:
    changing = tmp_path / "changing"
    changing.write_bytes(bytes(1 << 20))
    (tmp_path / "b").write_bytes(b"B")

    @contextmanager
    def change(name: str, _size: int) -> Iterator[Callable[[int], object]]:
        if name == "changing":
            os.truncate(changing, 1000)
        yield lambda _count: None

    with PeerServer() as server:
        write_transfer_info(tmp_path, server, "changing", "b")
        result = run(tmp_path, progress=change)
        server.settle()

        assert server.files == {("alice", "b"): b"B"}
    assert result.status is ExitStatus.FILE_FAILED
    assert result.waits == []
    assert [file.outcome for file in result.results] == ["failed", "verified"]
    assert "became smaller" in str(result.results[0].error)


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
@pytest.mark.parametrize("size", [2_000, 5_000_000])  # all in the network's buffers, or not
@pytest.mark.parametrize("retries", [1, 4])
def test_files_that_a_server_hangs_up_on_do_not_stop_the_others(
    tmp_path: Path, generation: str, size: int, retries: int
) -> None:
    for name in ("big1", "big2"):
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "small").write_bytes(b"small")
    with running(tmp_path / "data", max_file_bytes=1000) as server:
        options = Options(
            tmp_path,
            GENERATIONS[generation],
            server=f"127.0.0.1:{server.port}",
            name="alice",
            files=tuple(str(tmp_path / name) for name in ("big1", "big2", "small")),
            timeout=10,
            retries=retries,
        )
        result = run(tmp_path, options)

        assert server.stored() == {("alice", "small"): b"small"}
    assert result.outcomes == ["failed", "failed", "verified"]
    assert result.status is ExitStatus.FILE_FAILED
    assert max(result.waits) <= FIRST_WAIT_SECONDS


def test_after_a_file_that_was_refused_the_next_one_has_a_connection_of_its_own(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    with PeerServer(behaviour=Behaviour(general_errors={"send_file": 4})) as server:
        result = run_against(server, tmp_path, "a", "b", retries=0)
        server.settle()

        assert server.violations == []
        assert server.files == {("alice", "b"): b"b"}
        assert server.kinds[-3:] == ["reconnect", "send_file", "crc_valid"]
    assert result.outcomes == ["failed", "verified"]


def test_the_name_may_come_from_me_info(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"A")
    with PeerServer() as server:
        run_against(server, tmp_path, "a")
        address = f"{server.host}:{server.port}"
        options = Options(
            tmp_path, GENERATION, server=address, files=(str(tmp_path / "a"),), timeout=10
        )
        assert run(tmp_path, options).status is ExitStatus.VERIFIED


def test_a_key_that_others_can_read_is_used_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"A")
    with PeerServer() as server:
        assert run_against(server, tmp_path, "a").status is ExitStatus.VERIFIED
        assert error_lines(capsys) == []
        me_info, priv_key = tmp_path / "me.info", tmp_path / "priv.key"
        me_info.chmod(0o644)  # as the C++ clients make it
        priv_key.chmod(0o640)
        assert run_against(server, tmp_path, "a").status is ExitStatus.VERIFIED

    warning = f"warning: others can read the private key: chmod 600 {me_info} {priv_key}"
    assert error_lines(capsys) == [warning]


def test_without_any_name_the_run_does_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(tmp_path, GENERATION, server="h:1", files=("a",))

    assert run(tmp_path, options).status is ExitStatus.BAD_INPUT
    assert error_lines(capsys)[0].startswith("Fatal: --name: missing, and there is neither")


@pytest.mark.parametrize("file_name", ["me.info", "me.info.new"])
def test_two_names_are_a_contradiction_to_be_resolved_by_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], private_key: bytes, file_name: str
) -> None:
    from client.identity import IdentityStore

    store = IdentityStore(tmp_path)
    begun = store.begin("bob", bytes(16), private_key)
    if file_name == "me.info":
        store.complete(begun)
    (tmp_path / "transfer.info").write_text("h:1\nalice\na\n")

    assert run(tmp_path).status is ExitStatus.BAD_INPUT
    assert error_lines(capsys) == [
        f"Fatal: transfer.info, line 2: says 'alice', but {file_name} says 'bob'; make them agree,"
        f" or move {file_name} away to register as a new client"
    ]


def test_a_broken_me_info_is_not_registered_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "me.info").write_text("alice\n")
    (tmp_path / "transfer.info").write_text("h:1\nalice\na\n")

    assert run(tmp_path).status is ExitStatus.BAD_INPUT
    assert error_lines(capsys)[0].startswith("Fatal: me.info, line 2: not an id of 32 hex digits")
    assert (tmp_path / "me.info").read_text() == "alice\n"


def test_a_refused_connection_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"A")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = Options(
        tmp_path, GENERATION, f"127.0.0.1:{port}", "alice", (str(tmp_path / "a"),), retries=3
    )

    result = run(tmp_path, options)

    assert result.status is ExitStatus.NO_CONNECTION
    assert len(result.waits) == 3


def test_a_server_elsewhere_is_warned_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"A")
    monkeypatch.setattr(Connection, "is_local", False)
    with PeerServer() as server:
        assert run_against(server, tmp_path, "a").status is ExitStatus.VERIFIED
        expected = (
            f"warning: protocol 3 does not prove that {server.host}:{server.port} is the right"
            " server, and whoever is on the way can read names and alter contents"
        )
    assert error_lines(capsys) == [expected]


def test_an_interrupt_is_one_line_and_its_own_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"A")

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session3, "send_file", interrupt)
    with PeerServer() as server:
        result = run_against(server, tmp_path, "a")

    assert result.status is ExitStatus.INTERRUPTED
    assert result.outcomes == ["unsent"]
    assert error_lines(capsys) == [
        "warning: interrupted; files that were not acknowledged are to be sent again"
    ]

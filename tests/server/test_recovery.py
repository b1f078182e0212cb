"""After a crash at any point: what was acknowledged is there, what was not is not visible, and
nothing that might be somebody's file is thrown away."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import StorageError
from server.receiving import Recovery
from server.serving import listening
from tests.server.on_disk import ALICE, Crash, OnDisk, Steps, io_error, watch, watch_commits

BOB = b"\xbb" * 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OnDisk]:
    """A server that knows Alice, who has a file `a` of the content `older`."""
    with OnDisk(tmp_path / "data") as server:
        server.register()
        server.keep("a", b"older")
        yield server


@pytest.fixture
def steps(server: OnDisk, monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = watch(server.config.data, monkeypatch)
    watch_commits(steps, server.repository, monkeypatch)
    return steps


def _crash_before(steps: Steps, step: str, server: OnDisk) -> str:
    """Crashes in the middle of replacing `a`; the new file's upload id."""
    upload = server.upload("a", b"newer")
    steps.fail(step)
    with pytest.raises(Crash):
        upload.publish()
    steps.mend()
    return upload.object_id.hex()


def test_a_start_on_what_an_orderly_end_left_finds_nothing_to_do(server: OnDisk) -> None:
    assert server.restart() == Recovery()
    assert server.visible() == {"a": b"older"}


def test_a_first_start_finds_nothing_to_do(tmp_path: Path) -> None:
    with OnDisk(tmp_path / "data") as server:
        assert server.receiver.recover() == Recovery()


# Crashes


def test_after_a_crash_while_receiving_the_partial_file_is_swept(server: OnDisk) -> None:
    server.upload("a", b"newer")
    assert server.restart() == Recovery(swept=1)
    assert server.visible() == {"a": b"older"}
    assert not server.staged()


def test_a_crash_while_making_a_staged_file_is_swept(server: OnDisk) -> None:
    server.receiver.begin(ALICE, "b", 10)
    assert server.restart() == Recovery(swept=1)


@pytest.mark.parametrize("step", ["sync staging", "rename"])
def test_after_a_crash_before_the_rename_the_staged_file_is_swept(
    server: OnDisk, steps: Steps, step: str
) -> None:
    _crash_before(steps, step, server)
    assert server.restart() == Recovery(swept=1)
    assert server.visible() == {"a": b"older"}
    assert not server.orphans()


@pytest.mark.parametrize("step", [f"sync {ALICE.hex()}", "commit"])
def test_after_a_crash_before_the_commit_the_object_is_set_aside(
    server: OnDisk, steps: Steps, step: str
) -> None:
    object_id = _crash_before(steps, step, server)
    assert server.restart() == Recovery(set_aside=1)
    assert server.visible() == {"a": b"older"}
    assert server.orphans() == {object_id}


def test_after_a_crash_behind_the_commit_the_new_file_is_visible_and_the_old_one_removed(
    server: OnDisk, steps: Steps
) -> None:
    object_id = _crash_before(steps, "remove", server)
    assert server.restart() == Recovery(removed=1)
    assert server.visible() == {"a": b"newer"}
    assert server.objects() == {object_id}
    assert not server.orphans()


def test_after_a_crash_behind_the_removal_only_the_memory_of_it_is_cleared(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_object_id: bytes) -> None:
        raise Crash

    monkeypatch.setattr(server.repository, "forget_superseded", crash)
    with pytest.raises(Crash):
        server.keep("a", b"newer")
    assert server.restart() == Recovery(removed=1)
    assert server.visible() == {"a": b"newer"}
    assert not server.repository.superseded()


@pytest.mark.parametrize("step", ["sync staging", "rename", f"sync {ALICE.hex()}", "commit"])
def test_after_a_crash_the_same_file_can_be_sent_again(
    server: OnDisk, steps: Steps, step: str
) -> None:
    _crash_before(steps, step, server)
    server.restart()
    server.keep("a", b"newer")
    assert server.visible() == {"a": b"newer"}


@pytest.mark.parametrize(
    "step", ["sync staging", "rename", f"sync {ALICE.hex()}", "commit", "remove"]
)
def test_recovering_twice_finds_nothing_more_to_do(server: OnDisk, steps: Steps, step: str) -> None:
    _crash_before(steps, step, server)
    server.restart()
    assert server.restart() == Recovery()


@pytest.mark.parametrize("step", ["rename", "sync orphans"])
def test_a_crash_while_setting_aside_loses_nothing(server: OnDisk, steps: Steps, step: str) -> None:
    object_id = _crash_before(steps, "commit", server)
    steps.fail(step)
    with pytest.raises(Crash):
        server.restart()
    steps.mend()
    server.restart()
    assert server.orphans() == {object_id}
    assert server.visible() == {"a": b"older"}


def test_a_crash_in_another_clients_upload_does_not_touch_ones_own(
    server: OnDisk, steps: Steps
) -> None:
    server.register(BOB, "Bob")
    upload = server.upload("a", b"Bob's", BOB)
    steps.fail("commit")
    with pytest.raises(Crash):
        upload.publish()
    steps.mend()
    assert server.restart() == Recovery(set_aside=1)
    assert server.orphans(BOB) == {upload.object_id.hex()}
    assert server.visible() == {"a": b"older"}


# A failure that a client gave up on


def test_an_object_whose_commit_failed_is_set_aside_at_the_next_start(
    server: OnDisk, steps: Steps
) -> None:
    upload = server.upload("a", b"newer")
    steps.fail("commit", lambda: StorageError("stands for any error of the database"))
    with pytest.raises(StorageError):
        upload.publish()
    steps.mend()
    upload.discard()
    assert server.restart() == Recovery(set_aside=1)
    assert server.visible() == {"a": b"older"}


# Another database


def _other(server: OnDisk) -> str:
    return f"sqlite:///{server.config.data.parent / 'other.sqlite3'}"


def test_with_an_empty_database_every_object_is_set_aside(server: OnDisk) -> None:
    server.keep("b", b"second")
    objects = server.objects()
    assert server.restart(_other(server)) == Recovery(set_aside=2)
    assert server.orphans() == objects


def test_with_the_right_database_again_every_object_is_brought_back(server: OnDisk) -> None:
    server.keep("b", b"second")
    server.restart(_other(server))
    assert server.restart() == Recovery(brought_back=2)
    assert server.visible() == {"a": b"older", "b": b"second"}
    assert not server.orphans()


def test_what_the_other_database_received_meanwhile_is_set_aside_in_turn(server: OnDisk) -> None:
    server.restart(_other(server))
    server.register()
    meanwhile = server.keep("a", b"meanwhile")
    assert server.restart() == Recovery(set_aside=1, brought_back=1)
    assert server.visible() == {"a": b"older"}
    assert server.orphans() == {meanwhile.object_id.hex()}


def test_an_object_set_aside_before_its_client_had_a_directory_is_brought_back(
    server: OnDisk,
) -> None:
    server.restart(_other(server))
    (server.config.data / ALICE.hex()).rmdir()
    assert server.restart() == Recovery(brought_back=1)
    assert server.visible() == {"a": b"older"}


# Damage


def test_a_file_whose_bytes_are_gone_is_reported(server: OnDisk) -> None:
    (name,) = server.objects()
    (server.config.data / ALICE.hex() / name).unlink()
    assert server.restart() == Recovery(damaged=(("Alice", "a"),))


@pytest.mark.parametrize("content", [b"", b"olde", b"older."])
def test_a_file_of_another_size_is_reported_and_kept(server: OnDisk, content: bytes) -> None:
    (name,) = server.objects()
    (server.config.data / ALICE.hex() / name).write_bytes(content)
    assert server.restart() == Recovery(damaged=(("Alice", "a"),))
    assert server.visible() == {"a": content}


def test_a_damaged_file_can_be_replaced(server: OnDisk) -> None:
    (name,) = server.objects()
    (server.config.data / ALICE.hex() / name).unlink()
    server.restart()
    server.keep("a", b"newer")
    assert server.restart() == Recovery()


def test_an_object_brought_back_with_another_size_is_reported(server: OnDisk) -> None:
    (name,) = server.objects()
    server.restart(_other(server))
    (server.config.data / "orphans" / ALICE.hex() / name).write_bytes(b"?")
    assert server.restart() == Recovery(brought_back=1, damaged=(("Alice", "a"),))


# What the operator is told


def _told(server: OnDisk, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Severity and text of what a start on the server's data logs from warnings upwards."""
    server.close()
    with caplog.at_level(logging.WARNING, "server"), listening(server.config):
        pass
    server.open()
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_start_that_finds_nothing_to_do_says_nothing(
    server: OnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    assert _told(server, caplog) == []


def test_a_start_after_a_crash_tells_what_was_done(
    server: OnDisk, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    _crash_before(steps, "commit", server)
    server.upload("b", b"partial")
    ((severity, text),) = _told(server, caplog)
    assert severity == "WARNING"
    assert "1 partial uploads removed" in text
    assert "1 objects set aside" in text


def test_a_start_tells_of_each_damaged_file(
    server: OnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = server.objects()
    (server.config.data / ALICE.hex() / name).write_bytes(b"")
    assert (
        "ERROR",
        "the bytes of 'a' of client 'Alice' are gone or of another size",
    ) in _told(server, caplog)


# Replaced objects


def test_a_replaced_object_that_could_not_be_removed_is_removed_at_the_next_start(
    server: OnDisk, steps: Steps
) -> None:
    steps.fail("remove", io_error)
    newer = server.keep("a", b"newer")
    assert len(server.objects()) == 2
    steps.mend()
    assert server.restart() == Recovery(removed=1)
    assert server.objects() == {newer.object_id.hex()}


def test_a_replaced_object_that_can_never_be_removed_does_not_stop_the_start(
    server: OnDisk, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    steps.fail("remove", io_error)
    server.keep("a", b"newer")
    with caplog.at_level(logging.WARNING, "server"):
        server.restart()
    assert "stays for now" in caplog.text
    assert server.visible() == {"a": b"newer"}


def test_a_disk_that_refuses_to_set_aside_stops_the_start(server: OnDisk, steps: Steps) -> None:
    _crash_before(steps, "commit", server)
    steps.fail("rename", io_error)
    with pytest.raises(StorageError, match="cannot move an object"):
        server.restart()


def test_what_is_no_object_is_left_alone(server: OnDisk) -> None:
    note = server.config.data / ALICE.hex() / "README"
    note.write_text("the operator's own")
    assert server.restart() == Recovery()
    assert note.read_text() == "the operator's own"

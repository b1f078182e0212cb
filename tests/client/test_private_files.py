"""Private files at every point where writing them can fail."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.private_files import WRITABLE_BY_OTHERS, is_open, keep_as_old, write_private

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    return fail


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        write_private(tmp_path / "priv.key", b"secret")
    finally:
        os.umask(previous)

    assert (tmp_path / "priv.key").read_bytes() == b"secret"
    assert mode(tmp_path / "priv.key") == 0o600


@pytest.mark.parametrize(
    ("mode", "another", "readable", "writable"),
    [
        (0o600, 0, False, False),
        (0o644, 0, True, False),
        (0o620, 0, True, True),
        (0o640, 1, False, False),
        (0o660, 1, False, False),
        (0o644, 1, True, False),
        (0o646, 1, True, True),
    ],
)
def test_a_file_is_open_when_others_can_use_it(
    tmp_path: Path, mode: int, another: int, readable: bool, writable: bool
) -> None:
    values = list(tmp_path.stat())
    values[0], values[4] = mode, os.geteuid() + another
    status = os.stat_result(values)

    assert is_open(status) is readable
    assert is_open(status, WRITABLE_BY_OTHERS) is writable


def test_a_replaced_file_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "priv.key"
    path.write_bytes(b"old")
    path.chmod(0o644)

    write_private(path, b"new")

    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_failure_before_the_replacement_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "priv.key"
    path.write_bytes(b"old")
    monkeypatch.setattr(step, failing(error))

    with pytest.raises(type(error)):
        write_private(path, b"new")

    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(
    tmp_path: Path,
) -> None:
    (tmp_path / ".priv.key.original").write_bytes(b"a copy of the user's")
    code = (
        "import os, pathlib, signal; from client.private_files import write_private;"
        " os.fsync = lambda _descriptor: os.kill(os.getpid(), signal.SIGKILL);"
        f" write_private(pathlib.Path({str(tmp_path / 'priv.key')!r}), b'killed')"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2

    write_private(tmp_path / "priv.key", b"new")

    assert {path.name for path in tmp_path.iterdir()} == {".priv.key.original", "priv.key"}


def test_old_files_are_kept_under_one_number(tmp_path: Path) -> None:
    paths = [tmp_path / "me.info", tmp_path / "priv.key"]
    for content in (b"1", b"2", b"3"):
        for path in paths:
            path.write_bytes(content)
        keep_as_old(paths)
        for path in paths:
            path.unlink()

    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {
        "me.info.old": b"1",
        "priv.key.old": b"1",
        "me.info.old.2": b"2",
        "priv.key.old.2": b"2",
        "me.info.old.3": b"3",
        "priv.key.old.3": b"3",
    }


def test_a_number_in_use_by_one_file_is_used_by_none(tmp_path: Path) -> None:
    (tmp_path / "priv.key.old").write_bytes(b"precious")
    (tmp_path / "me.info").write_bytes(b"1")

    keep_as_old([tmp_path / "me.info", tmp_path / "priv.key"])

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "me.info",
        "me.info.old.2",
        "priv.key.old",
    ]


def test_without_hard_links_the_old_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "priv.key"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.link", failing(OSError(errno.EPERM, "Operation not permitted")))

    keep_as_old([path])

    assert (tmp_path / "priv.key.old").read_bytes() == b"old"
    assert mode(tmp_path / "priv.key.old") == 0o600


def test_another_failure_to_link_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "priv.key"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.link", failing(OSError(errno.ENOSPC, "No space left on device")))

    with pytest.raises(OSError, match="No space"):
        keep_as_old([path])

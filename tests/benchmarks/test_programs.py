"""The peers' programs: what is said when they are missing, and their versions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import programs
from benchmarks.errors import BenchmarkError


@pytest.fixture
def empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A system on which nothing is installed."""
    monkeypatch.setattr(programs, "_PATH", str(tmp_path))
    programs.find.cache_clear()
    yield tmp_path
    programs.find.cache_clear()


def test_a_missing_program_is_named_with_its_package(empty_path: Path) -> None:  # noqa: ARG001
    with pytest.raises(BenchmarkError, match="sshd is not there: apt-get install openssh-server"):
        programs.find("sshd")


def test_a_user_who_cannot_install_is_told_the_whole_command(
    empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(
        BenchmarkError,
        match=r"as root: apt-get install --no-install-recommends"
        r" curl nginx-light openssh-client openssh-server rclone rsync$",
    ):
        programs.install()
    (empty_path / "curl").touch(mode=0o755)
    assert "curl" not in programs.missing()


def test_nothing_is_installed_when_nothing_is_missing(
    empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for name in programs.PACKAGES:
        (empty_path / name).touch(mode=0o755)
    programs.install()


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026", "9.2p1"),
        ("rsync  version 3.5.0  protocol version 32", "3.5.0"),
        ("rclone v1.60.1-DEV\n- os/version: debian 12.11 (64 bit)", "1.60.1-DEV"),
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1", "7.88.1"),
        ("tar (GNU tar) 1.34\nCopyright", "1.34"),
        ("no such option", "unknown"),
    ],
)
def test_versions_are_found_in_what_programs_answer(answer: str, version: str) -> None:
    assert programs.parse_version(answer) == version

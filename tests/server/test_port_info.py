"""`port.info`: a port, or a warning and the default, and never a failure."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.config import load

DEFAULT_PORT = 1234


def _port(*directories: Path, flags: dict[str, object] | None = None) -> tuple[int, list[str]]:
    """The port, and the warnings on the way to it."""
    warnings: list[str] = []
    config = load(flags or {}, {}, warnings.append, directories)
    return config.port, warnings


@pytest.mark.parametrize(
    "content",
    [b"4321", b"4321\n", b"4321\r\n", b" 4321 \n\n", b"\xef\xbb\xbf4321\n", b"04321", b"\t4321"],
)
def test_a_port_is_read_without_a_warning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "port.info").write_bytes(content)
    assert _port(tmp_path) == (4321, [])


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("65535", 65535)])
def test_the_lowest_and_the_highest_port_are_read(tmp_path: Path, text: str, port: int) -> None:
    (tmp_path / "port.info").write_text(text)
    assert _port(tmp_path) == (port, [])


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"http", b"0", b"65536", b"-1", b"12.5", b"1234 5678", b"0x50", b"\xff\xfe1\x002",
     b"\xd9\xa1", b"1" * 65, b"1" * 10**6, b"1234\0", b"port=1234"],
)  # fmt: skip
def test_an_unusable_port_is_one_warning_and_the_default(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "port.info"
    path.write_bytes(content)
    port, (warning,) = _port(tmp_path)
    assert port == DEFAULT_PORT
    assert warning.startswith(f"{path} holds no usable port")
    assert warning.endswith(f"using port {DEFAULT_PORT}")
    assert "\n" not in warning


def test_a_missing_file_is_one_warning_and_the_default(tmp_path: Path) -> None:
    assert _port(tmp_path) == (DEFAULT_PORT, [f"no port.info; using port {DEFAULT_PORT}"])


def test_a_directory_of_that_name_is_a_warning_and_the_default(tmp_path: Path) -> None:
    (tmp_path / "port.info").mkdir()
    port, (warning,) = _port(tmp_path)
    assert (port, "Is a directory" in warning) == (DEFAULT_PORT, True)


def test_a_dangling_link_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "port.info").symlink_to("nowhere")
    assert _port(tmp_path) == (DEFAULT_PORT, [f"no port.info; using port {DEFAULT_PORT}"])


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, os.strerror(13))


@pytest.mark.parametrize("method", ["open", "exists"])
def test_what_may_not_be_read_is_a_warning_and_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    # The tests may run as root, whom permissions do not bind.
    (tmp_path / "port.info").write_text("4321")
    refuse: Callable[..., None] = _refuse
    monkeypatch.setattr(Path, method, refuse)
    port, (warning,) = _port(tmp_path)
    assert (port, "Permission denied" in warning) == (DEFAULT_PORT, True)


def test_the_first_directory_with_the_file_decides(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory, port in ((first, "1111"), (second, "2222")):
        directory.mkdir()
        (directory / "port.info").write_text(port)
    assert _port(first, second) == (1111, [])


def test_the_second_directory_is_looked_at_when_the_first_has_none(tmp_path: Path) -> None:
    (tmp_path / "port.info").write_text("2222")
    assert _port(tmp_path / "none", tmp_path) == (2222, [])


def test_a_port_from_elsewhere_is_used_without_a_look_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "port.info").write_text("nonsense")
    assert _port(tmp_path, flags={"port": "7"}) == (7, [])


def test_the_working_directory_is_looked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "port.info").write_text("4321")
    monkeypatch.chdir(tmp_path)
    assert load({}, {}).port == 4321


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=80))
def test_any_content_is_a_port_or_the_default(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "port.info").write_bytes(content)
    port, warnings = _port(tmp_path)
    assert 1 <= port <= 65535
    assert len(warnings) <= 1

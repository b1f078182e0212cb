"""Who else may read a file that holds a secret."""

import os
import shlex
from pathlib import Path

import pytest

from server.errors import ConfigurationError
from server.privatefiles import check_private


def check(path: Path, mode: int, owner: int) -> None:
    values = list(path.stat())
    values[0], values[4] = mode, owner
    check_private(path, os.stat_result(values), f"key file {path}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a key"
    path.touch()
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_of_the_server_is_for_the_server_alone(path: Path, mode: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(path, mode, os.geteuid())

    quoted = shlex.quote(str(path))
    assert str(caught.value) == f"key file {path} is open to others: chmod 600 {quoted}"


def test_a_file_of_another_account_may_be_open_to_its_group(path: Path) -> None:
    another = os.geteuid() + 1
    check(path, 0o640, another)
    with pytest.raises(ConfigurationError, match="is open to others: chmod o= "):
        check(path, 0o644, another)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_that_nobody_else_can_use_is_good(path: Path, mode: int) -> None:
    check(path, mode, os.geteuid())

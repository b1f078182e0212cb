"""Servers on which anybody may register, or who has a token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer4.serving import Serving, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", max_failed_attempts=1000) as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", registration="token", max_failed_attempts=1000) as running:
        yield running

"""Whatever an attacker does, an honest client's files are stored, and nothing is left behind."""

from collections.abc import Iterator

import pytest

from tests.load.attacks import KINDS
from tests.load.flood import SHORT, Battlefield, battlefield


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Battlefield]:
    with battlefield(tmp_path_factory.mktemp("field"), SHORT) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_client_is_served_during(field: Battlefield, kind: str) -> None:
    flood = field.flood(kind)
    assert flood.during.seconds
    assert flood.counts["opened"], "the attack has not reached the server"

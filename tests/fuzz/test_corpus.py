"""Every target holds: for the inputs that are kept, and for what hypothesis makes of them."""

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus, target

NAMES = target.names()
MOST_BYTES = 300 * 1024

# The same examples each time: searching for new ones is what `make fuzz` is for.
few = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(params=NAMES)
def found(request: pytest.FixtureRequest) -> target.Target:
    return target.load(request.param)


def test_kept_inputs_and_seeds_break_no_promise(found: target.Target) -> None:
    for data in (*found.seeds(), *corpus.kept(found.name)):
        try:
            found.run(data)
        except Exception as error:
            error.add_note(f"input: {base64.b64encode(data).decode()}")
            raise


@given(st.data())
@few
def test_altered_inputs_break_no_promise(found: target.Target, data: st.DataObject) -> None:
    seeds = [*found.seeds()]
    first, second = (data.draw(st.sampled_from(seeds)) for _ in range(2))
    place = data.draw(st.integers(0, len(first)))
    between = data.draw(st.binary(max_size=12))
    found.run((first[:place] + between + second[place:])[: found.max_bytes])


@given(st.binary(max_size=300))
@few
def test_any_bytes_break_no_promise(found: target.Target, data: bytes) -> None:
    found.run(data)


def test_the_kept_inputs_are_of_targets_that_are_there_and_stay_few() -> None:
    files = list(corpus.DIRECTORY.glob("*.txt"))
    assert {file.stem for file in files} <= set(NAMES)
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES

"""Each fault is tried a few times in every test run, and many times by `make faults`."""

import pytest
from _pytest.mark.structures import ParameterSet


def tried(
    *values: object, name: str, short: int, long: int, seconds: int = 7200
) -> list[ParameterSet]:
    """A case of a table, twice: `short` times in every test run, and `long` times in the long run,
    which may take so many seconds. The test gets the number behind the values."""
    return [
        pytest.param(*values, short, id=f"{name}-short"),
        pytest.param(
            *values, long, id=f"{name}-long", marks=[pytest.mark.soak, pytest.mark.timeout(seconds)]
        ),
    ]

"""The list of cases."""

import pytest

from benchmarks.catalogue import CASES, chosen
from benchmarks.errors import BenchmarkError


def test_without_a_choice_the_usual_cases_are_measured() -> None:
    assert [case.name for case in chosen([])] == [str(number) for number in range(1, 11)]


def test_cases_are_measured_in_their_order_whatever_the_order_of_the_names() -> None:
    assert [case.name for case in chosen(["many", "10", "2"])] == ["2", "10", "many"]


def test_an_unknown_case_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BenchmarkError, match=f"no case '11'; there are {' '.join(CASES)}"):
        chosen(["1", "11"])

"""Producing ahead in a thread."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from client.ahead import Ahead


def test_everything_arrives_in_order() -> None:
    with closing(Ahead(iter(range(100)), 3)) as ahead:
        assert list(ahead) == list(range(100))


def test_no_more_than_the_depth_is_in_flight() -> None:
    produced: list[int] = []
    asked = threading.Semaphore(0)

    def source() -> Iterator[int]:
        for number in range(10):
            produced.append(number)
            asked.release()
            yield number

    with closing(Ahead(source(), 3)) as ahead:
        items = iter(ahead)
        for number in range(10):
            assert next(items) == number
            assert len(produced) <= number + 3
        for _ in range(10):
            assert asked.acquire(timeout=10)


def test_a_failure_reaches_the_consumer_after_what_came_before() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    with closing(Ahead(source(), 2)) as ahead:
        items = iter(ahead)
        assert next(items) == 1
        with pytest.raises(KeyError, match="lost"):
            next(items)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()

    with closing(Ahead(iter(range(10**9)), 2)) as ahead:
        assert next(iter(ahead)) == 0

    assert threading.active_count() == before

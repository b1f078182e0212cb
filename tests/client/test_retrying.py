"""When the client tries again, and when it stops."""

import pytest

from client.errors import ConnectionLost, CouldNotConnect
from client.retrying import LONGEST_WAIT_SECONDS, Backoff


def backoff(retries: int, waits: list[float], jitter: float = 1.0) -> Backoff:
    return Backoff(retries, lambda *_arguments: None, sleep=waits.append, jitter=lambda: jitter)


def test_waits_double_up_to_a_bound() -> None:
    waits: list[float] = []
    waiting = backoff(2000, waits)

    for _ in range(2000):
        waiting.failed(ConnectionLost("lost"))

    assert waits[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert set(waits[7:]) == {LONGEST_WAIT_SECONDS}


def test_jitter_shortens_a_wait_to_no_less_than_half() -> None:
    waits: list[float] = []

    backoff(1, waits, jitter=0.0).failed(ConnectionLost("lost"))

    assert waits == [0.25]


def test_the_last_failure_is_raised() -> None:
    waits: list[float] = []
    waiting = backoff(2, waits)
    waiting.failed(ConnectionLost("first"))
    waiting.failed(ConnectionLost("second"))

    with pytest.raises(CouldNotConnect, match="third"):
        waiting.failed(CouldNotConnect("third"))

    assert len(waits) == 2


def test_an_answer_gives_all_tries_back() -> None:
    waits: list[float] = []
    waiting = backoff(1, waits)

    for _ in range(3):
        waiting.failed(ConnectionLost("lost"))
        waiting.answered()

    assert waits == [0.5] * 3


def test_a_retry_is_announced_before_the_wait() -> None:
    told: list[object] = []
    waiting = Backoff(
        2,
        lambda error, seconds, number: told.append((str(error), seconds, number)),
        sleep=told.append,
        jitter=lambda: 1.0,
    )

    waiting.failed(ConnectionLost("lost"))

    assert told == [("lost", 0.5, 1), 0.5]


def test_a_server_that_says_when_is_waited_for_but_not_for_hours() -> None:
    waits: list[float] = []
    waiting = backoff(3, waits)
    for retry_after in (0.0, 10.0, 86400.0):
        error = ConnectionLost("busy")
        error.retry_after = retry_after
        waiting.failed(error)

    assert waits == [0.5, 10.0, LONGEST_WAIT_SECONDS]

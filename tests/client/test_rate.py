"""The token bucket."""

from client.rate import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_rate_is_kept_in_the_long_run() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock=clock, sleep=clock.sleep)

    for _ in range(500):
        limit.spend(100)

    assert 49 < clock.now < 51


def test_time_that_passed_otherwise_is_not_waited_for_again() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        limit.spend(100)
        clock.now += 0.1

    assert clock.now < 1.1


def test_idling_does_not_save_up() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock=clock, sleep=clock.sleep)
    clock.now = 1000.0

    limit.spend(1000)

    assert clock.now > 1000.8


def test_the_slowest_rate_is_one_byte_at_a_time() -> None:
    assert RateLimit(1).burst_bytes == 1

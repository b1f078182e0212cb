"""A bad path is as bad as it is told to be, and in the same way each time."""

from collections import Counter

import pytest

from tests.faults.impairments import CLEAN, Counts, Direction, Impairments

_PACKETS = [b"E" + bytes(20) + number.to_bytes(4, "big") for number in range(10_000)]
_INTERVAL_SECONDS = 0.001


def _passed(direction: Direction) -> list[bytes]:
    """All packets as they come out, one having come in each millisecond."""
    out: list[bytes] = []
    for number, packet in enumerate(_PACKETS):
        direction.take(packet, number * _INTERVAL_SECONDS)
        out += direction.due(number * _INTERVAL_SECONDS)
    out += direction.due(2 * len(_PACKETS) * _INTERVAL_SECONDS)
    return out


def _direction(impairments: Impairments, seed: int = 1) -> Direction:
    direction = Direction(seed)
    direction.impairments = impairments
    return direction


def test_a_clean_path_hands_everything_over_at_once_and_in_order() -> None:
    direction = _direction(CLEAN)

    assert _passed(direction) == _PACKETS
    assert direction.counts == Counts(taken=len(_PACKETS))


def test_what_is_lost_is_as_much_as_was_asked_for_and_what_is_missing() -> None:
    direction = _direction(Impairments(loss=0.05))
    out = _passed(direction)

    assert direction.counts.lost == len(set(_PACKETS) - set(out))
    # A fair coin of 5% stays within 6 standard deviations of 500; the seed makes it one try.
    assert 370 < direction.counts.lost < 630
    assert out == sorted(out)


def test_what_is_duplicated_comes_twice() -> None:
    direction = _direction(Impairments(duplication=0.05))
    twice = [packet for packet, times in Counter(_passed(direction)).items() if times == 2]

    assert direction.counts.duplicated == len(twice)
    assert 370 < len(twice) < 630
    assert direction.counts.reordered == 0


def test_what_is_corrupted_has_one_wrong_bit_behind_its_first_byte() -> None:
    direction = _direction(Impairments(corruption=0.05))
    wrong = [
        int.from_bytes(came) ^ int.from_bytes(sent)
        for sent, came in zip(_PACKETS, _passed(direction), strict=True)
        if came != sent
    ]

    assert direction.counts.corrupted == len(wrong)
    assert 370 < len(wrong) < 630
    assert {difference.bit_count() for difference in wrong} == {1}
    assert max(wrong).bit_length() <= 8 * (len(_PACKETS[0]) - 1)


def test_a_fixed_delay_keeps_the_order() -> None:
    direction = _direction(Impairments(delay_seconds=0.02))

    direction.take(_PACKETS[0], 0.0)
    assert list(direction.due(0.01)) == []
    assert direction.wait(0.015) == pytest.approx(0.005)
    assert list(direction.due(0.02)) == [_PACKETS[0]]
    assert direction.wait(0.02) is None

    assert _passed(_direction(Impairments(delay_seconds=0.02))) == _PACKETS


def test_jitter_lets_packets_overtake_one_another() -> None:
    direction = _direction(Impairments(jitter_seconds=0.02, duplication=0.1))
    first_copies = list(dict.fromkeys(_passed(direction)))
    overtaken = sum(
        packet < max(first_copies[:at], default=b"") for at, packet in enumerate(first_copies[:500])
    )

    assert set(first_copies) == set(_PACKETS)
    assert overtaken > 300
    assert direction.counts.reordered > 6_000
    assert direction.counts.delayed == len(_PACKETS)


def test_the_same_seed_brings_the_same_fates_and_another_one_others() -> None:
    bad = Impairments(0.01, 0.02, loss=0.05, duplication=0.05, corruption=0.05)

    assert _passed(_direction(bad, 1)) == _passed(_direction(bad, 1))
    assert _passed(_direction(bad, 1)) != _passed(_direction(bad, 2))

"""Keys that outlive their connection: to whom, how long, and what becomes of their uploads."""

from dataclasses import dataclass
from typing import cast

import pytest

from server.keytable import Keyed, KeyTable
from server.receiving import Upload

ALICE, BOB = b"a" * 16, b"b" * 16
HERE, THERE = "192.0.2.1", "192.0.2.2"


@dataclass
class _Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class _Waiting:
    """Stands for an upload; only its end matters here."""

    discarded: int = 0

    def discard(self) -> None:
        self.discarded += 1


def _keyed(key: bytes, waiting: _Waiting | None = None) -> Keyed:
    return Keyed(key, cast("Upload | None", waiting))


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def table(clock: _Clock) -> KeyTable:
    return KeyTable(60.0, 100, clock)


def test_a_key_is_found_by_the_client_and_address_that_left_it(table: KeyTable) -> None:
    keyed = _keyed(b"key")
    assert table.leave(ALICE, HERE, keyed)
    assert table.take(ALICE, HERE) is keyed


@pytest.mark.parametrize(("client", "address"), [(BOB, HERE), (ALICE, THERE), (BOB, THERE)])
def test_another_client_or_address_finds_nothing(
    table: KeyTable, client: bytes, address: str
) -> None:
    table.leave(ALICE, HERE, _keyed(b"key"))
    assert table.take(client, address) is None


def test_who_finds_nothing_takes_nothing_away(table: KeyTable) -> None:
    table.leave(ALICE, HERE, _keyed(b"key"))
    table.take(ALICE, THERE)
    assert table.take(ALICE, HERE) is not None


def test_a_key_is_taken_once(table: KeyTable) -> None:
    table.leave(ALICE, HERE, _keyed(b"key"))
    table.take(ALICE, HERE)
    assert table.take(ALICE, HERE) is None


def test_a_key_is_valid_until_its_time_is_over(table: KeyTable, clock: _Clock) -> None:
    table.leave(ALICE, HERE, _keyed(b"key"))
    clock.now += 59.999
    assert table.take(ALICE, HERE) is not None


def test_a_key_is_void_once_its_time_is_over(table: KeyTable, clock: _Clock) -> None:
    table.leave(ALICE, HERE, _keyed(b"key"))
    clock.now += 60.0
    assert table.take(ALICE, HERE) is None


def test_the_time_begins_anew_when_a_key_is_left_again(table: KeyTable, clock: _Clock) -> None:
    table.leave(ALICE, HERE, _keyed(b"key"))
    clock.now += 50
    table.leave(ALICE, HERE, _keyed(b"newer"))
    clock.now += 50
    found = table.take(ALICE, HERE)
    assert found is not None
    assert found.aes_key == b"newer"


def test_a_table_switched_off_keeps_nothing(clock: _Clock) -> None:
    table = KeyTable(0.0, 100, clock)
    assert not table.leave(ALICE, HERE, _keyed(b"key"))
    assert table.take(ALICE, HERE) is None


def test_a_table_switched_off_leaves_the_upload_to_its_owner(clock: _Clock) -> None:
    waiting = _Waiting()
    KeyTable(0.0, 100, clock).leave(ALICE, HERE, _keyed(b"key", waiting))
    assert not waiting.discarded


def test_an_upload_is_discarded_when_its_time_is_over(table: KeyTable, clock: _Clock) -> None:
    waiting = _Waiting()
    table.leave(ALICE, HERE, _keyed(b"key", waiting))
    clock.now += 60
    table.expire()
    assert waiting.discarded == 1


def test_what_is_not_over_stays_when_others_expire(table: KeyTable, clock: _Clock) -> None:
    waiting = _Waiting()
    table.leave(BOB, HERE, _keyed(b"old"))
    clock.now += 30
    table.leave(ALICE, HERE, _keyed(b"key", waiting))
    clock.now += 30
    table.expire()
    assert not waiting.discarded
    assert table.take(ALICE, HERE) is not None


def test_a_newer_connections_key_ends_the_older_ones_upload(table: KeyTable) -> None:
    older, newer = _Waiting(), _Waiting()
    table.leave(ALICE, HERE, _keyed(b"older", older))
    table.leave(ALICE, HERE, _keyed(b"newer", newer))
    assert (older.discarded, newer.discarded) == (1, 0)


def test_who_takes_an_upload_is_left_to_end_it(table: KeyTable, clock: _Clock) -> None:
    waiting = _Waiting()
    table.leave(ALICE, HERE, _keyed(b"key", waiting))
    table.take(ALICE, HERE)
    clock.now += 100
    table.clear()
    assert not waiting.discarded


def test_clearing_discards_every_upload(table: KeyTable) -> None:
    uploads = [_Waiting(), _Waiting()]
    table.leave(ALICE, HERE, _keyed(b"a", uploads[0]))
    table.leave(BOB, HERE, _keyed(b"b", uploads[1]))
    table.clear()
    assert [upload.discarded for upload in uploads] == [1, 1]
    assert table.take(ALICE, HERE) is None

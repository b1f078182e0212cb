"""`audit`, and what the operator's commands leave in the audit trail."""

import json
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from server.administration import (
    create_token,
    remove_client,
    revoke_token,
    set_disabled,
    shorten_trail,
)
from server.commands import parse_moment
from server.inspection import list_events
from server.repository import Action, Client, Event, Repository, open_repository

NOW = 1_700_000_000
ALICE = Client(b"\xaa" * 16, "Alice", NOW, NOW)


@pytest.fixture
def repository(database_url: str) -> Iterator[Repository]:
    with closing(open_repository(database_url)) as repository:
        repository.add_client(ALICE)
        yield repository


def silent(_text: str) -> None:
    """For commands whose answer is not looked at."""


def create(repository: Repository) -> None:
    create_token(repository, silent, name="Bob", seconds=60, max_name_bytes=255)


def revoke(repository: Repository) -> None:
    create(repository)
    (token,) = repository.tokens()
    revoke_token(repository, silent, token.digest.hex())


def disable(repository: Repository) -> None:
    set_disabled(repository, silent, "Alice", disabled=True)


def enable(repository: Repository) -> None:
    set_disabled(repository, silent, ALICE.id.hex(), disabled=False)


def remove(repository: Repository) -> None:
    remove_client(repository, silent, "Alice", lambda _: True)


@pytest.mark.parametrize(
    ("command", "action", "client"),
    [
        (create, Action.TOKEN_CREATED, "Bob"),
        (revoke, Action.TOKEN_REVOKED, None),
        (disable, Action.CLIENT_DISABLED, "Alice"),
        (enable, Action.CLIENT_ENABLED, "Alice"),
        (remove, Action.CLIENT_REMOVED, "Alice"),
    ],
)
def test_what_operators_do_is_in_the_trail(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[Repository], None],
    action: Action,
    client: str | None,
) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.setenv("SUDO_USER", "carol")
    command(repository)
    *_, event = repository.events()
    assert (event.action, event.client) == (action, client)
    assert (event.outcome, event.operator, event.address) == ("ok", f"carol as {user}", "")
    assert (event.client_id == ALICE.id) is (client == "Alice")


def test_an_account_without_a_name_is_told_by_its_number(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    monkeypatch.delenv("SUDO_USER", raising=False)
    disable(repository)
    (event,) = repository.events()
    assert event.operator == str(2**31 - 7)


def test_a_token_is_told_by_its_digest_alone(repository: Repository) -> None:
    create(repository)
    (token,), (event,) = repository.tokens(), repository.events()
    assert event.subjects == (token.digest.hex()[:16],)


def test_a_removal_that_nobody_confirms_is_no_event(repository: Repository) -> None:
    remove_client(repository, silent, "Alice", lambda _: False)
    assert list(repository.events()) == []


def listed(
    repository: Repository, *, client: str | None = None, since: int = 0, as_json: bool = False
) -> list[str]:
    lines: list[str] = []
    list_events(repository, lines.append, client=client, since=since, as_json=as_json)
    return lines


EVENTS = [
    Event(
        Action.UPLOAD, client_id=ALICE.id, client="Alice", address="192.0.2.7",
        subjects=("a\x1b[2J", "b"), size=5, at=NOW * 10**6,
    ),
    Event(Action.CONNECT, "AccessDenied", ALICE.id, address="192.0.2.8", at=(NOW + 60) * 10**6),
    Event(
        Action.RENAME, client="Bob", address="::1", subjects=("old",), target="new",
        at=(NOW + 120) * 10**6,
    ),
    Event(Action.TOKEN_REVOKED, operator="root", subjects=("01ab",), at=(NOW + 180) * 10**6),
    Event(Action.CLIENT_REMOVED, operator="root", client="Bob", size=7, at=(NOW + 240) * 10**6),
]  # fmt: skip


def test_the_trail_is_a_line_for_each_event(repository: Repository) -> None:
    repository.record(EVENTS)
    assert listed(repository) == [
        "2023-11-14 22:13:20Z  upload  ok  Alice  192.0.2.7  a\\x1b[2J  5 bytes in 2 files",
        "2023-11-14 22:13:20Z  upload  ok  Alice  192.0.2.7  b  5 bytes in 2 files",
        f"2023-11-14 22:14:20Z  connect  AccessDenied  {ALICE.id.hex()}  192.0.2.8",
        "2023-11-14 22:15:20Z  rename  ok  Bob  ::1  old -> new",
        "2023-11-14 22:16:20Z  token revoked  ok  -  operator root  01ab",
        "2023-11-14 22:17:20Z  client removed  ok  Bob  operator root  7 bytes",
    ]
    assert len(listed(repository, since=NOW + 120)) == 3
    assert len(listed(repository, client="Bob")) == 2


def test_the_trail_as_json(repository: Repository) -> None:
    repository.record(EVENTS)
    assert json.loads(listed(repository, as_json=True)[0]) == {
        "at": NOW, "action": "upload", "outcome": "ok", "client": "Alice",
        "client_id": ALICE.id.hex(), "address": "192.0.2.7", "operator": None,
        "subjects": ["a\x1b[2J", "b"], "target": None, "size": 5,
    }  # fmt: skip


def test_what_is_removed_from_the_trail_is_told_by_it(repository: Repository) -> None:
    repository.record(EVENTS)
    lines: list[str] = []
    shorten_trail(repository, lines.append, NOW + 61)
    assert lines == ["removed 2 events from before 2023-11-14 22:14:21Z"]
    assert [event.action for event in repository.events()] == [
        Action.RENAME, Action.TOKEN_REVOKED, Action.CLIENT_REMOVED, Action.TRAIL_SHORTENED
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", NOW - 86400),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14", NOW - NOW % 86400),
    ],
)
def test_a_time_is_one_ago_or_a_date(text: str, moment: int) -> None:
    assert parse_moment(text, lambda: NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "-1h", "99999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Exception, match=r"neither a time ago|is not a time"):
        parse_moment(text, lambda: NOW)

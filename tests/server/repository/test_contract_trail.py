"""The audit trail on both databases: appended to, read in order, shortened, never altered."""

import os
from dataclasses import replace

import pytest

from protocol.messages4 import Policy
from server.repository import (
    Action,
    Client,
    Event,
    Publication,
    Repository,
    UnknownClient,
    transactions,
)
from tests.server.repository.conftest import Open
from tests.server.repository.samples import (
    at_once,
    client,
    content4,
    publication,
    sign,
    stored_file,
)

NOW = 1_700_000_000_000_000


def event(at: int = NOW, client_name: str | None = "Alice", name: str = "report.txt") -> Event:
    return Event(Action.UPLOAD, client=client_name, subjects=(name,), at=at)


def test_an_event_is_kept_as_it_was(repository: Repository, open_another: Open) -> None:
    full = Event(
        Action.RENAME, "FileExists", os.urandom(16), "Älice \udcff", "2001:db8::7", "root",
        tuple(f"{number} \U0001f4c4" for number in range(300)), "n" * 1024, 2**63 - 1, NOW,
    )  # fmt: skip
    bare = Event(Action.CONNECT, at=NOW + 1)
    repository.record([full, bare])
    assert list(open_another().events()) == [full, bare]


def test_a_client_was_seen_when_it_last_connected(repository: Repository) -> None:
    seen, refused, unseen = (client(name) for name in ("seen", "refused", "unseen"))
    for each in (seen, refused, unseen):
        repository.add_client(each)
    at = (seen.last_seen + 10) * 10**6

    repository.record(
        [
            Event(Action.CONNECT, client_id=seen.id, at=at + 3 * 10**6),
            Event(Action.CONNECT, client_id=seen.id, at=at),
            Event(Action.CONNECT, "AccessDenied", refused.id, at=at),
            Event(Action.DOWNLOAD, client_id=refused.id, at=at),
            Event(Action.CONNECT, client_id=unseen.id, at=(unseen.last_seen - 5) * 10**6),
            Event(Action.CONNECT, client_id=os.urandom(16), at=at),
        ]
    )

    found = [repository.find_client(each.id) for each in (seen, refused, unseen)]
    assert found == [replace(seen, last_seen=seen.last_seen + 13), refused, unseen]


def test_events_are_told_in_the_order_of_time(repository: Repository) -> None:
    late, early = event(NOW + 1), event(NOW)
    repository.record([late])
    repository.record([early])
    assert list(repository.events()) == [early, late]


def test_an_event_that_is_recorded_again_is_one_entry(repository: Repository) -> None:
    first, second = event(), event()
    repository.record([first])
    repository.record([first, second])
    repository.record([replace(first, outcome="altered")])
    found = list(repository.events())
    assert sorted(found, key=lambda each: each.id) == sorted(
        [first, second], key=lambda each: each.id
    )


def test_nothing_is_recorded_of_no_events(repository: Repository) -> None:
    repository.record([])
    assert list(repository.events()) == []


def test_events_are_found_by_time_and_client(repository: Repository) -> None:
    old, alices, bobs = event(NOW - 1), event(NOW), event(NOW + 1, "Bob")
    nobodys = event(NOW + 2, None)
    repository.record([old, alices, bobs, nobodys])
    assert list(repository.events(NOW)) == [alices, bobs, nobodys]
    assert list(repository.events(client="Alice")) == [old, alices]
    assert list(repository.events(NOW, "Bob")) == [bobs]
    assert list(repository.events(client="alice")) == []


def test_many_events_are_read_in_batches(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "BATCH_ROWS", 3)
    many = [event(NOW + number // 4) for number in range(10)]  # some at one moment
    repository.record(many)
    found = list(repository.events())
    assert len(found) == 10
    assert {each.id for each in found} == {each.id for each in many}
    assert [each.at for each in found] == [each.at for each in many]


def test_what_is_old_is_forgotten(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "BATCH_ROWS", 3)
    repository.record([event(NOW - number) for number in range(10)])
    assert repository.forget_events(NOW) == 9
    assert [each.at for each in repository.events()] == [NOW]
    assert repository.forget_events(NOW) == 0


UPLOAD = Event(Action.UPLOAD, client="Alice", address="192.0.2.7", at=NOW)


def test_an_event_is_recorded_with_what_is_published(repository: Repository, alice: Client) -> None:
    files = [publication(content4(alice, name, size=7)) for name in ("a", "b", "\u00e4")]
    repository.publish(files, sign, UPLOAD)
    assert list(repository.events()) == [replace(UPLOAD, subjects=("a", "b", "\u00e4"), size=21)]


def test_a_file_of_protocol_3_is_told_of_as_well(repository: Repository, alice: Client) -> None:
    repository.publish([Publication(stored_file(alice, "a", size=7))], sign, UPLOAD)
    assert list(repository.events()) == [replace(UPLOAD, subjects=("a",), size=7)]


def test_a_publication_that_is_repeated_is_told_once(repository: Repository, alice: Client) -> None:
    file = publication(content4(alice))
    for _ in range(2):
        repository.publish([file], sign, UPLOAD)
    assert len(list(repository.events())) == 1


def test_what_was_published_before_is_not_told_again(repository: Repository, alice: Client) -> None:
    first = publication(content4(alice))
    repository.publish([first], sign)
    again = publication(content4(alice), upload_id=first.upload_id)
    repository.publish([again, publication(content4(alice, "new", size=7))], sign, UPLOAD)
    assert list(repository.events()) == [replace(UPLOAD, subjects=("new",), size=7)]


def test_what_the_policy_forbids_is_told_as_refused(repository: Repository, alice: Client) -> None:
    repository.publish([publication(content4(alice))], sign)
    refused = publication(content4(alice, size=1), Policy.NEVER)
    new = publication(content4(alice, "new", size=7))
    for _ in range(2):  # as when the outcome of the commit is not known
        repository.publish([refused, new], sign, UPLOAD)
    found = {event.outcome: event for event in repository.events()}
    assert len(list(repository.events())) == 2
    assert found["ok"] == replace(UPLOAD, subjects=("new",), size=7)
    told = found["FileExists"]
    assert (told.subjects, told.size, told.address) == (("report.txt",), 1, "192.0.2.7")


def test_nothing_is_told_of_what_was_not_published(repository: Repository, alice: Client) -> None:
    with pytest.raises(UnknownClient):
        repository.publish(
            [publication(content4(alice)), publication(content4(client("Bob")))], sign, UPLOAD
        )
    assert list(repository.events()) == []


def test_events_outlive_their_client(repository: Repository, alice: Client) -> None:
    told = Event(Action.REGISTER, client_id=alice.id, client=alice.name, at=NOW)
    repository.record([told])
    repository.remove_client(alice.id)
    assert list(repository.events(client="Alice")) == [told]


def test_threads_record_at_once(repository: Repository, alice: Client) -> None:
    def publish(number: int) -> None:
        repository.publish([publication(content4(alice, str(number)))], sign, event())
        repository.record([event()])

    at_once(publish, range(8))
    assert len(list(repository.events())) == 16

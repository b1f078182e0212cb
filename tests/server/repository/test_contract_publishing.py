"""What every repository promises about batches of publications, their policies and receipts."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from protocol.messages4 import Policy
from server.repository import (
    Client,
    Publication,
    Published,
    Repository,
    RepositoryError,
    StoredFile,
    UnknownClient,
    transactions,
)
from tests.server.repository.conftest import Open
from tests.server.repository.samples import (
    MODIFIED,
    at_once,
    client,
    completion,
    content4,
    publication,
    receipt_of,
    sign,
    stored_file,
    upload,
)


def _receipt(repository: Repository, ours: Publication) -> bytes | None:
    assert ours.upload_id is not None
    found = repository.find_upload(ours.file.client_id, ours.upload_id)
    return found.receipt if found else None


class TestReceipts:
    def test_an_upload_is_not_completed_without_a_receipt(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(ValueError, match="with a receipt"):
            repository.publish([publication(content4(alice))])
        assert list(repository.files(alice.id)) == []

    def test_only_what_is_published_now_is_signed(
        self, repository: Repository, alice: Client
    ) -> None:
        done = publication(content4(alice, "done"))
        repository.publish([done], sign)
        again = publication(content4(alice, "done"), upload_id=done.upload_id)
        refused = publication(content4(alice, "done"), Policy.NEVER)
        twice = publication(content4(alice, "new"))
        second = publication(content4(alice, "new"), upload_id=twice.upload_id)
        signed: list[Publication] = []

        def record(accepted: Sequence[Publication]) -> list[bytes]:
            signed.extend(accepted)
            return sign(accepted)

        told = repository.publish([again, refused, twice, second], record)

        assert signed == [twice]
        receipts = [receipt_of(done), None, receipt_of(twice), receipt_of(twice)]
        assert [each.receipt for each in told] == receipts


class TestBatches:
    def test_no_publication_is_nothing_to_do(self, repository: Repository) -> None:
        assert repository.publish([], sign) == []

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"size": 2**63 - 1, "modified": 2**63 - 1, "mode": 0o7777},
            {"size": 0, "modified": -(2**63), "mode": 0, "sha256": bytes(32)},
            {"name": "caf\udce9 \\ ' %s ? \n", "sha256": b"%s?\\'\"\0`;--".ljust(32)},
        ],
    )
    def test_a_file_of_protocol_4_is_found_as_it_was_given(
        self, repository: Repository, alice: Client, changes: dict[str, Any]
    ) -> None:
        file = replace(content4(alice), **changes)
        repository.publish([publication(file)], sign)
        assert repository.find_file(alice.id, file.name) == file

    @pytest.mark.parametrize("batch_rows", [3, 500])
    def test_a_batch_of_new_and_old_names_of_several_clients_is_published_in_order(
        self,
        repository: Repository,
        alice: Client,
        monkeypatch: pytest.MonkeyPatch,
        batch_rows: int,
    ) -> None:
        monkeypatch.setattr(transactions, "BATCH_ROWS", batch_rows)
        bob = client("Bob")
        repository.add_client(bob)
        old = [content4(owner, str(each)) for each in range(4) for owner in (alice, bob)]
        repository.publish([publication(file) for file in old], sign)
        new = [content4(owner, str(each)) for each in range(2, 6) for owner in (bob, alice)]
        told = repository.publish([publication(file) for file in new], sign)

        replaced = {(file.client_id, file.name): file.object_id for file in old}
        assert [each.superseded for each in told] == [
            replaced.get((file.client_id, file.name)) for file in new
        ]
        for owner in (alice, bob):
            of_owner = [file for file in (*old[:4], *new) if file.client_id == owner.id]
            assert list(repository.files(owner.id)) == sorted(of_owner, key=lambda file: file.name)
        assert sorted(object_id for _, object_id in repository.superseded()) == sorted(
            file.object_id for file in old[4:]
        )

    def test_more_files_than_a_statement_takes_are_all_published(
        self, repository: Repository, alice: Client
    ) -> None:
        count = 2 * transactions.BATCH_ROWS + 1
        batch = [publication(content4(alice, f"{each:04}")) for each in range(count)]
        repository.publish(batch, sign)
        assert list(repository.files(alice.id)) == [each.file for each in batch]

    def test_of_one_name_twice_in_a_batch_the_second_replaces_the_first(
        self, repository: Repository, alice: Client
    ) -> None:
        first, second = publication(content4(alice)), publication(content4(alice))
        assert repository.publish([first, second], sign) == [
            Published(None, receipt=receipt_of(first)),
            Published(first.file.object_id, receipt=receipt_of(second)),
        ]
        assert list(repository.files(alice.id)) == [second.file]
        assert repository.superseded() == [(alice.id, first.file.object_id)]
        assert _receipt(repository, first) == receipt_of(first)

    def test_a_file_that_stands_is_replaced_once_by_two_of_its_name_in_a_batch(
        self, repository: Repository, alice: Client
    ) -> None:
        oldest, first, second = (publication(content4(alice)) for _ in range(3))
        repository.publish([oldest], sign)
        told = repository.publish([first, second], sign)
        assert [each.superseded for each in told] == [
            oldest.file.object_id,
            first.file.object_id,
        ]
        assert list(repository.files(alice.id)) == [second.file]

    def test_an_unknown_client_leaves_nothing_of_the_batch(
        self, repository: Repository, alice: Client
    ) -> None:
        batch = [publication(content4(owner)) for owner in (alice, client("Bob"))]
        with pytest.raises(UnknownClient):
            repository.publish(batch, sign)
        assert list(repository.files(alice.id)) == []
        assert _receipt(repository, batch[0]) is None

    def test_a_file_that_the_columns_cannot_hold_leaves_nothing_of_the_batch(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(RepositoryError):
            repository.publish(
                [publication(content4(alice, "a")), publication(content4(alice, size=2**63))], sign
            )
        assert list(repository.files(alice.id)) == []

    def test_batches_of_the_same_clients_in_any_order_all_succeed(
        self, repository: Repository, open_another: Open, alice: Client
    ) -> None:
        owners = [alice]
        for number in range(3):
            owners.append(client(f"client {number}"))
            repository.add_client(owners[-1])
        places = [repository, open_another()]

        def publish(number: int) -> None:
            files = [content4(owner, str(each % 3)) for each in range(4) for owner in owners]
            order = files if number % 2 else files[::-1]
            places[number % 2].publish([publication(file) for file in order], sign)

        at_once(publish, range(6))
        assert [repository.usage(owner.id).files for owner in owners] == [3] * 4
        assert len(repository.superseded()) == 6 * 16 - 12


class TestRepetition:
    def test_the_same_batch_again_changes_nothing_and_tells_the_same_receipts(
        self, repository: Repository, alice: Client
    ) -> None:
        batch = [publication(content4(alice, name)) for name in "abc"]
        first = repository.publish(batch, sign)
        assert repository.publish(batch, sign) == first
        assert list(repository.files(alice.id)) == [each.file for each in batch]
        assert repository.superseded() == []

    def test_a_complete_upload_ended_by_another_object_keeps_its_first_object_and_receipt(
        self, repository: Repository, alice: Client
    ) -> None:
        first = publication(content4(alice))
        second = publication(content4(alice), upload_id=first.upload_id)
        repository.publish([first], sign)
        unneeded = second.file.object_id
        assert repository.publish([second], sign) == [
            Published(unneeded, receipt=receipt_of(first))
        ]
        assert list(repository.files(alice.id)) == [first.file]
        assert repository.superseded() == [(alice.id, unneeded)]

    def test_an_object_that_is_not_needed_is_told_every_time_and_remembered_once(
        self, repository: Repository, alice: Client
    ) -> None:
        first = publication(content4(alice))
        second = publication(content4(alice), upload_id=first.upload_id)
        told = repository.publish([first, second, second], sign)
        assert told[1] == told[2] == Published(second.file.object_id, receipt=receipt_of(first))
        assert repository.superseded() == [(alice.id, second.file.object_id)]

    def test_a_complete_upload_whose_file_was_replaced_and_swept_does_not_come_back(
        self, repository: Repository, alice: Client
    ) -> None:
        older, newer = publication(content4(alice)), publication(content4(alice))
        repository.publish([older, newer], sign)
        repository.forget_superseded(older.file.object_id)
        assert repository.publish([older], sign) == [Published(None, receipt=receipt_of(older))]
        assert list(repository.files(alice.id)) == [newer.file]

    def test_a_renamed_file_published_again_keeps_its_new_name(
        self, repository: Repository, alice: Client
    ) -> None:
        ours = publication(content4(alice, "old"))
        repository.publish([ours], sign)
        repository.rename_file(alice.id, "old", "new", replace=False)
        repository.publish([ours], sign)
        assert [file.name for file in repository.files(alice.id)] == ["new"]

    def test_one_upload_ended_by_many_at_once_is_published_once(
        self, repository: Repository, open_another: Open, alice: Client
    ) -> None:
        upload_id = os.urandom(16)
        rivals = [publication(content4(alice), upload_id=upload_id) for _ in range(8)]
        places = [repository, open_another()]
        told = at_once(lambda each: places[each % 2].publish([rivals[each]], sign)[0], range(8))
        (visible,) = repository.files(alice.id)
        winner = next(each for each in rivals if each.file == visible)
        assert {each.receipt for each in told} == {receipt_of(winner)}
        assert sorted(object_id for _, object_id in repository.superseded()) == sorted(
            each.file.object_id for each in rivals if each is not winner
        )


class TestUploads:
    def test_an_upload_becomes_complete_with_its_receipt(
        self, repository: Repository, alice: Client
    ) -> None:
        begun = repository.begin_upload(upload(alice, size=None, begun_at=5))
        ended = completion(begun)
        repository.publish([ended], sign)
        assert repository.find_upload(alice.id, begun.upload_id) == replace(
            begun, size=ended.file.size, receipt=receipt_of(ended)
        )
        assert list(repository.pending_uploads()) == []

    def test_an_upload_that_was_never_begun_becomes_complete(
        self, repository: Repository, alice: Client
    ) -> None:
        ours = publication(content4(alice))
        repository.publish([ours], sign)
        assert _receipt(repository, ours) == receipt_of(ours)

    def test_publishing_one_upload_leaves_others_pending(
        self, repository: Repository, alice: Client
    ) -> None:
        first, second = (repository.begin_upload(upload(alice)) for _ in range(2))
        repository.publish([completion(first)], sign)
        assert list(repository.pending_uploads()) == [second]

    def test_a_file_of_protocol_3_replaces_one_of_protocol_4_and_the_other_way_round(
        self, repository: Repository, alice: Client
    ) -> None:
        files = [content4(alice), stored_file(alice), content4(alice)]
        repository.publish([publication(files[0])], sign)
        assert repository.publish_file(files[1]) == files[0].object_id
        repository.publish([publication(files[2])], sign)
        assert list(repository.files(alice.id)) == files[2:]


class TestPolicies:
    @pytest.mark.parametrize("policy", Policy)
    def test_a_new_name_is_allowed_by_every_policy(
        self, repository: Repository, alice: Client, policy: Policy
    ) -> None:
        ours = publication(content4(alice), policy)
        assert repository.publish([ours], sign) == [Published(None, receipt=receipt_of(ours))]

    @pytest.mark.parametrize(
        ("policy", "later", "allowed"),
        [
            (Policy.NEVER, 1, False),
            (Policy.IF_OLDER, 1, True),
            (Policy.IF_OLDER, 0, False),
            (Policy.IF_OLDER, -1, False),
            (Policy.ALWAYS, -1, True),
        ],
    )
    def test_a_policy_decides_by_the_times_of_modification(
        self, repository: Repository, alice: Client, policy: Policy, later: int, allowed: bool
    ) -> None:
        old = content4(alice)
        new = content4(alice, modified=MODIFIED + later)
        repository.publish([publication(old)], sign)
        (told,) = repository.publish([publication(new, policy)], sign)
        assert told.refused is not allowed
        assert list(repository.files(alice.id)) == [new if allowed else old]

    @pytest.mark.parametrize(("nanoseconds", "allowed"), [(0, False), (1, True)])
    def test_a_file_of_protocol_3_counts_as_modified_when_it_was_received(
        self, repository: Repository, alice: Client, nanoseconds: int, allowed: bool
    ) -> None:
        old = stored_file(alice, received_at=1000)
        new = content4(alice, modified=1000 * 10**9 + nanoseconds)
        repository.publish_file(old)
        (told,) = repository.publish([publication(new, Policy.IF_OLDER)], sign)
        assert told.refused is not allowed

    def test_a_policy_sees_what_came_before_in_the_batch(
        self, repository: Repository, alice: Client
    ) -> None:
        files = [content4(alice, modified=MODIFIED + each) for each in (0, 2, 1)]
        told = repository.publish([publication(file, Policy.IF_OLDER) for file in files], sign)
        assert [each.refused for each in told] == [False, False, True]
        assert list(repository.files(alice.id)) == [files[1]]

    def test_a_refused_upload_changes_nothing_but_is_pending_no_more(
        self, repository: Repository, alice: Client
    ) -> None:
        old = publication(content4(alice))
        repository.publish([old], sign)
        begun, other = (repository.begin_upload(upload(alice)) for _ in range(2))
        refused = completion(begun, policy=Policy.NEVER)
        assert repository.publish([refused], sign) == [Published(None, refused=True)]
        assert list(repository.files(alice.id)) == [old.file]
        assert repository.superseded() == []
        assert repository.find_upload(alice.id, begun.upload_id) is None
        assert list(repository.pending_uploads()) == [other]

    def test_a_refused_file_leaves_the_rest_of_its_batch_alone(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.publish_file(stored_file(alice, "b"))
        batch = [publication(content4(alice, name), Policy.NEVER) for name in "abc"]
        told = repository.publish(batch, sign)
        assert [each.refused for each in told] == [False, True, False]
        assert _receipt(repository, batch[1]) is None
        assert _receipt(repository, batch[2]) == receipt_of(batch[2])

    def test_a_refused_publication_without_an_upload_is_told(
        self, repository: Repository, alice: Client
    ) -> None:
        old = stored_file(alice)
        repository.publish_file(old)
        told = repository.publish([Publication(stored_file(alice), policy=Policy.NEVER)], sign)
        assert told == [Published(None, refused=True)]
        assert list(repository.files(alice.id)) == [old]

    def test_of_many_that_forbid_replacing_exactly_one_wins(
        self, repository: Repository, open_another: Open, alice: Client
    ) -> None:
        rivals = [publication(content4(alice), Policy.NEVER) for _ in range(8)]
        places = [repository, open_another()]
        told = at_once(lambda each: places[each % 2].publish([rivals[each]], sign)[0], range(8))
        won = [rival.file for rival, each in zip(rivals, told, strict=True) if not each.refused]
        assert list(repository.files(alice.id)) == won
        assert len(won) == 1

    def test_of_many_that_replace_older_ones_the_newest_stays(
        self, repository: Repository, alice: Client
    ) -> None:
        files: list[StoredFile] = [content4(alice, modified=each) for each in range(8)]
        at_once(lambda file: repository.publish([publication(file, Policy.IF_OLDER)], sign), files)
        assert list(repository.files(alice.id)) == files[-1:]


class TestKnownObjects:
    def test_what_a_file_an_upload_or_the_memory_leads_to_is_known(
        self, repository: Repository, alice: Client
    ) -> None:
        replaced, file = stored_file(alice, "a"), stored_file(alice, "a")
        done, pending = publication(content4(alice, "b")), upload(alice)
        repository.publish_file(replaced)
        repository.publish_file(file)
        repository.publish([done], sign)
        repository.begin_upload(pending)
        known = [replaced.object_id, file.object_id, done.file.object_id, pending.object_id]
        unknown = [os.urandom(16) for _ in range(transactions.BATCH_ROWS)]
        assert repository.known_objects(alice.id, [*unknown, *known]) == set(known)

    def test_what_is_another_clients_is_not(self, repository: Repository, alice: Client) -> None:
        bob = client("Bob")
        repository.add_client(bob)
        repository.publish_file(file := stored_file(bob))
        assert repository.known_objects(alice.id, [file.object_id]) == set()
        assert repository.known_objects(b"nobody" + bytes(10), [file.object_id]) == set()

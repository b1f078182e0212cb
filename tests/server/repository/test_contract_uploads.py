"""What every repository promises about uploads that are resumed, completed and forgotten."""

import os
from dataclasses import replace
from typing import Any

import pytest

from protocol.messages4 import Policy
from server.repository import (
    Client,
    Repository,
    RepositoryError,
    UnknownClient,
    Usage,
    transactions,
)
from tests.server.repository.samples import (
    at_once,
    client,
    completion,
    content4,
    publication,
    receipt_of,
    sign,
    upload,
)


class TestBeginning:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"size": None},
            {"size": 2**63 - 1, "modified": 2**63 - 1, "mode": 0o7777, "policy": Policy.NEVER},
            {"size": 0, "modified": -(2**63), "mode": 0, "policy": Policy.IF_OLDER},
            {"name": "n" * 1024},
            {"name": "caf\udce9 \\ ' %s ? \n"},
        ],
    )
    def test_an_upload_is_found_as_it_was_begun(
        self, repository: Repository, alice: Client, changes: dict[str, Any]
    ) -> None:
        begun = replace(upload(alice), **changes)
        assert repository.begin_upload(begun) == begun
        assert repository.find_upload(alice.id, begun.upload_id) == begun

    def test_an_upload_begun_again_is_the_first_one(
        self, repository: Repository, alice: Client
    ) -> None:
        begun = repository.begin_upload(upload(alice))
        again = replace(upload(alice, "other", size=1), upload_id=begun.upload_id)
        assert repository.begin_upload(again) == begun
        assert list(repository.pending_uploads()) == [begun]

    def test_a_complete_upload_begun_again_is_the_complete_one(
        self, repository: Repository, alice: Client
    ) -> None:
        begun = repository.begin_upload(upload(alice))
        ended = completion(begun)
        repository.publish([ended], sign)
        again = repository.begin_upload(begun)
        assert (again.object_id, again.receipt) == (begun.object_id, receipt_of(ended))

    def test_many_who_begin_one_upload_at_once_are_given_the_same(
        self, repository: Repository, alice: Client
    ) -> None:
        first = upload(alice)
        rivals = [replace(first, object_id=os.urandom(16)) for _ in range(8)]
        assert len(set(at_once(repository.begin_upload, rivals))) == 1

    def test_two_clients_may_choose_one_upload_id(
        self, repository: Repository, alice: Client
    ) -> None:
        bob = client("Bob")
        repository.add_client(bob)
        first = repository.begin_upload(upload(alice))
        second = replace(upload(bob), upload_id=first.upload_id)
        assert repository.begin_upload(second) == second
        assert repository.find_upload(alice.id, first.upload_id) == first

    def test_an_upload_of_an_unknown_client_is_refused(self, repository: Repository) -> None:
        with pytest.raises(UnknownClient):
            repository.begin_upload(upload(client()))

    @pytest.mark.parametrize("changes", [{"size": 2**63}, {"name": "n" * 1025}])
    def test_an_upload_that_the_columns_cannot_hold_is_refused(
        self, repository: Repository, alice: Client, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(RepositoryError):
            repository.begin_upload(replace(upload(alice), **changes))
        assert list(repository.pending_uploads()) == []

    def test_an_unknown_upload_is_not_found(self, repository: Repository, alice: Client) -> None:
        assert repository.find_upload(alice.id, os.urandom(16)) is None


class TestDropping:
    def test_a_dropped_upload_is_gone(self, repository: Repository, alice: Client) -> None:
        kept, dropped = (repository.begin_upload(upload(alice)) for _ in range(2))
        assert repository.drop_upload(alice.id, dropped.upload_id)
        assert list(repository.pending_uploads()) == [kept]

    def test_an_upload_of_another_client_is_not_dropped(
        self, repository: Repository, alice: Client
    ) -> None:
        bob = client("Bob")
        repository.add_client(bob)
        begun = repository.begin_upload(upload(alice))
        assert not repository.drop_upload(bob.id, begun.upload_id)
        assert not repository.drop_upload(os.urandom(16), begun.upload_id)
        assert list(repository.pending_uploads()) == [begun]

    def test_a_complete_upload_is_not_dropped(self, repository: Repository, alice: Client) -> None:
        begun = repository.begin_upload(upload(alice))
        repository.publish([completion(begun)], sign)
        assert not repository.drop_upload(alice.id, begun.upload_id)
        assert repository.find_upload(alice.id, begun.upload_id) is not None


class TestPending:
    @pytest.mark.parametrize("count", [0, 2, 3, 4, 7])
    def test_pending_uploads_of_several_batches_all_come_once_and_complete_ones_never(
        self,
        repository: Repository,
        alice: Client,
        monkeypatch: pytest.MonkeyPatch,
        count: int,
    ) -> None:
        monkeypatch.setattr(transactions, "BATCH_ROWS", 3)
        bob = client("Bob")
        repository.add_client(bob)
        begun = [repository.begin_upload(upload((alice, bob)[each % 2])) for each in range(count)]
        repository.publish([publication(content4(alice, str(each))) for each in range(4)], sign)
        assert list(repository.pending_uploads()) == sorted(
            begun, key=lambda each: (each.client_id, each.upload_id)
        )

    def test_pending_uploads_are_counted_with_their_announced_bytes(
        self, repository: Repository, alice: Client
    ) -> None:
        bob = client("Bob")
        repository.add_client(bob)
        for size in (2**63 - 1, 2**63 - 1, None, 7):
            repository.begin_upload(upload(alice, size=size))
        repository.begin_upload(upload(bob, size=1))
        repository.publish([completion(repository.begin_upload(upload(alice, size=100)))], sign)
        assert repository.pending_of(alice.id) == Usage(files=4, size=2 * (2**63 - 1) + 7)

    @pytest.mark.parametrize("sizes", [[], [None]])
    def test_what_is_not_announced_adds_up_to_nothing(
        self, repository: Repository, alice: Client, sizes: list[None]
    ) -> None:
        for size in sizes:
            repository.begin_upload(upload(alice, size=size))
        assert repository.pending_of(alice.id) == Usage(files=len(sizes), size=0)


class TestForgetting:
    def test_old_completed_uploads_are_forgotten_and_nothing_else(
        self, repository: Repository, alice: Client
    ) -> None:
        pending = repository.begin_upload(upload(alice, begun_at=1))
        begun_long_ago = repository.begin_upload(upload(alice, "long", begun_at=50))
        repository.publish([completion(begun_long_ago, received_at=100)], sign)
        complete = publication(content4(alice, "old", received_at=99))
        repository.publish([complete], sign)

        repository.forget_completed_uploads(100)

        assert list(repository.pending_uploads()) == [pending]
        assert repository.find_upload(alice.id, begun_long_ago.upload_id) is not None
        assert complete.upload_id is not None
        assert repository.find_upload(alice.id, complete.upload_id) is None

    def test_the_files_of_forgotten_uploads_stay(
        self, repository: Repository, alice: Client
    ) -> None:
        ours = publication(content4(alice))
        repository.publish([ours], sign)
        repository.forget_completed_uploads(2**40)
        assert list(repository.files(alice.id)) == [ours.file]
        assert repository.superseded() == []

    def test_more_uploads_than_a_batch_are_all_forgotten(
        self, repository: Repository, alice: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "BATCH_ROWS", 3)
        complete = [publication(content4(alice, str(each))) for each in range(7)]
        repository.publish(complete, sign)
        repository.forget_completed_uploads(2**40)
        found = [
            repository.find_upload(alice.id, each.upload_id)
            for each in complete
            if each.upload_id is not None
        ]
        assert found == [None] * len(complete)

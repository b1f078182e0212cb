"""What every repository promises about clients, keys and files, on SQLite and on MariaDB."""

import os
from dataclasses import replace
from typing import Any

import pytest

from server.repository import (
    Client,
    NameTaken,
    Repository,
    RepositoryError,
    UnknownClient,
    Usage,
    transactions,
)
from tests.server.repository.conftest import Open
from tests.server.repository.samples import at_once, client, stored_file

KEY = bytes(range(256)) + b"\\'\"\0\n%s?;"
AES = os.urandom(40)


class TestClients:
    def test_a_registered_client_is_found_as_it_was_added(self, repository: Repository) -> None:
        added = client("Bob")
        repository.add_client(added)
        assert repository.find_client(added.id) == added

    def test_an_unknown_id_finds_nobody(self, repository: Repository, alice: Client) -> None:
        assert repository.find_client(os.urandom(16)) is None

    def test_a_client_with_keys_is_found_with_them(self, repository: Repository) -> None:
        added = client("Bob", public_key=KEY, wrapped_aes_key=AES)
        repository.add_client(added)
        assert repository.find_client(added.id) == added

    def test_a_second_client_of_the_same_name_is_refused(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(NameTaken):
            repository.add_client(client(alice.name))

    def test_a_refused_registration_leaves_no_client(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(NameTaken):
            repository.add_client(client(alice.name))
        assert list(repository.clients()) == [alice]

    def test_adding_the_same_client_again_is_accepted(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.add_client(alice)
        assert list(repository.clients()) == [alice]

    def test_an_id_under_a_second_name_is_an_error_but_not_a_taken_name(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(RepositoryError) as refused:
            repository.add_client(replace(alice, name="Bob"))
        assert not isinstance(refused.value, NameTaken)

    @pytest.mark.parametrize(
        "other",
        ["alice", "Älice", "Alice ", "Alice\0", "A", "%", "Alic\udce9", "🦄", "Alice'--"],
    )
    def test_names_that_differ_by_any_byte_are_two_clients(
        self, repository: Repository, alice: Client, other: str
    ) -> None:
        added = client(other)
        repository.add_client(added)
        assert repository.find_client(added.id) == added

    def test_a_name_of_255_bytes_is_kept_whole(self, repository: Repository) -> None:
        added = client("ä" * 127 + "z")
        repository.add_client(added)
        assert repository.find_client(added.id) == added

    def test_a_name_of_256_bytes_is_refused_and_not_shortened(self, repository: Repository) -> None:
        with pytest.raises(RepositoryError):
            repository.add_client(client("ä" * 128))

    def test_a_name_that_has_no_bytes_is_refused(self, repository: Repository) -> None:
        with pytest.raises(RepositoryError):
            repository.add_client(client("\ud800"))

    def test_clients_come_by_the_bytes_of_their_names(self, repository: Repository) -> None:
        names = ["b", "B", "ä", "a", "Z", "a\udcff", "aa"]
        for name in names:
            repository.add_client(client(name))
        found = [each.name for each in repository.clients()]
        assert found == sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))

    def test_an_empty_repository_has_no_clients(self, repository: Repository) -> None:
        assert list(repository.clients()) == []

    @pytest.mark.parametrize("count", [2, 3, 4, 7])
    def test_clients_of_several_batches_all_come_once(
        self, repository: Repository, monkeypatch: pytest.MonkeyPatch, count: int
    ) -> None:
        monkeypatch.setattr(transactions, "BATCH_ROWS", 3)
        names = [f"client {number}" for number in range(count)]
        for name in names:
            repository.add_client(client(name))
        assert [each.name for each in repository.clients()] == names

    def test_a_reader_between_two_batches_does_not_hold_up_a_writer(
        self, repository: Repository, alice: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "BATCH_ROWS", 1)
        reading = repository.clients()
        next(reading)
        repository.add_client(client("Bob"))
        assert [each.name for each in reading] == ["Bob"]


class TestKeys:
    def test_the_first_public_key_is_stored(self, repository: Repository, alice: Client) -> None:
        assert repository.set_public_key(alice.id, KEY, AES, 42)
        assert repository.find_client(alice.id) == replace(
            alice, public_key=KEY, wrapped_aes_key=AES, last_seen=42
        )

    def test_the_same_public_key_again_stores_the_newer_aes_key(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.set_public_key(alice.id, KEY, b"older", 41)
        assert repository.set_public_key(alice.id, KEY, AES, 42)
        assert repository.find_client(alice.id) == replace(
            alice, public_key=KEY, wrapped_aes_key=AES, last_seen=42
        )

    def test_storing_exactly_the_same_twice_succeeds_twice(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.set_public_key(alice.id, KEY, AES, 42)
        assert repository.set_public_key(alice.id, KEY, AES, 42)

    @pytest.mark.parametrize("other", [KEY[:-1], KEY + b"\0", KEY + b" ", b""])
    def test_another_public_key_is_refused_and_changes_nothing(
        self, repository: Repository, alice: Client, other: bytes
    ) -> None:
        repository.set_public_key(alice.id, KEY, AES, 42)
        before = repository.find_client(alice.id)
        assert not repository.set_public_key(alice.id, other, b"x", 43)
        assert repository.find_client(alice.id) == before

    def test_a_public_key_of_an_unknown_client_is_refused(self, repository: Repository) -> None:
        assert not repository.set_public_key(os.urandom(16), KEY, AES, 42)

    def test_a_reconnect_stores_the_aes_key_and_the_time(
        self, repository: Repository, alice: Client
    ) -> None:
        assert repository.record_reconnect(alice.id, AES, 43)
        assert repository.find_client(alice.id) == replace(alice, wrapped_aes_key=AES, last_seen=43)

    def test_the_same_reconnect_twice_succeeds_twice(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.record_reconnect(alice.id, AES, 43)
        assert repository.record_reconnect(alice.id, AES, 43)

    def test_a_reconnect_of_an_unknown_client_is_refused(self, repository: Repository) -> None:
        assert not repository.record_reconnect(os.urandom(16), AES, 43)


class TestFiles:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"size": 2**63 - 1, "cksum": 2**32 - 1, "received_at": 2**40},
            {"size": 0, "cksum": 0},
            {"name": "n" * 1024},
            {"name": "folder/" * 100 + "ä"},
            {"name": "caf\udce9 \\ ' %s ? \n"},
        ],
    )
    def test_a_published_file_is_found_as_it_was_given(
        self, repository: Repository, alice: Client, changes: dict[str, Any]
    ) -> None:
        file = stored_file(alice, **changes)
        repository.publish_file(file)
        assert repository.find_file(alice.id, file.name) == file

    def test_a_name_of_1025_bytes_is_refused_and_not_shortened(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(RepositoryError):
            repository.publish_file(stored_file(alice, "ä" * 512 + "z"))
        assert list(repository.files(alice.id)) == []

    def test_a_name_in_other_capitals_finds_nothing(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.publish_file(stored_file(alice, "Report"))
        assert repository.find_file(alice.id, "report") is None

    def test_a_file_of_another_client_is_not_found(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.publish_file(stored_file(alice, "report"))
        assert repository.find_file(os.urandom(16), "report") is None

    def test_two_clients_may_use_one_file_name(self, repository: Repository, alice: Client) -> None:
        bob = client("Bob")
        repository.add_client(bob)
        for owner in (alice, bob):
            repository.publish_file(stored_file(owner, "report"))
        assert repository.superseded() == []

    def test_a_newer_file_takes_the_place_of_the_older(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.publish_file(stored_file(alice, "report", size=1))
        newer = stored_file(alice, "report", size=2)
        repository.publish_file(newer)
        assert list(repository.files(alice.id)) == [newer]

    def test_a_file_of_an_unknown_client_is_refused(self, repository: Repository) -> None:
        with pytest.raises(UnknownClient):
            repository.publish_file(stored_file(client()))

    def test_a_size_that_the_column_cannot_hold_is_refused(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(RepositoryError):
            repository.publish_file(stored_file(alice, size=2**63))

    def test_an_object_in_use_by_another_name_is_refused_and_changes_nothing(
        self, repository: Repository, alice: Client
    ) -> None:
        first, second = stored_file(alice, "first"), stored_file(alice, "second")
        repository.publish_file(first)
        repository.publish_file(second)
        with pytest.raises(RepositoryError):
            repository.publish_file(replace(first, name="second"))
        assert list(repository.files(alice.id)) == [first, second]

    def test_files_come_by_name_over_several_batches(
        self, repository: Repository, alice: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "BATCH_ROWS", 3)
        files = [stored_file(alice, f"file {number}") for number in range(7)]
        for file in reversed(files):
            repository.publish_file(file)
        assert list(repository.files(alice.id)) == files

    def test_usage_adds_up_sizes_beyond_63_bits(
        self, repository: Repository, alice: Client
    ) -> None:
        for number in range(3):
            repository.publish_file(stored_file(alice, str(number), size=2**63 - 1))
        assert repository.usage(alice.id) == Usage(files=3, size=3 * (2**63 - 1))

    def test_usage_of_a_client_without_files_is_nothing(
        self, repository: Repository, alice: Client
    ) -> None:
        assert repository.usage(alice.id) == Usage(files=0, size=0)

    def test_usage_counts_a_replaced_file_no_more(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.publish_file(stored_file(alice, size=10))
        repository.publish_file(stored_file(alice, size=3))
        assert repository.usage(alice.id) == Usage(files=1, size=3)


class TestSuperseded:
    def test_the_first_file_of_a_name_supersedes_nothing(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.publish_file(stored_file(alice))
        assert repository.superseded() == []

    def test_publishing_tells_what_it_replaced(self, repository: Repository, alice: Client) -> None:
        older = stored_file(alice)
        assert repository.publish_file(older) is None
        assert repository.publish_file(stored_file(alice)) == older.object_id

    def test_a_replaced_upload_is_remembered_until_forgotten(
        self, repository: Repository, alice: Client
    ) -> None:
        older = stored_file(alice)
        repository.publish_file(older)
        repository.publish_file(stored_file(alice))
        assert repository.superseded() == [(alice.id, older.object_id)]
        repository.forget_superseded(older.object_id)
        assert repository.superseded() == []

    def test_forgetting_an_unknown_upload_is_ignored(self, repository: Repository) -> None:
        repository.forget_superseded(os.urandom(16))

    def test_publishing_the_same_upload_again_changes_nothing(
        self, repository: Repository, alice: Client
    ) -> None:
        file = stored_file(alice)
        repository.publish_file(file)
        repository.publish_file(file)
        assert repository.find_file(alice.id, file.name) == file
        assert repository.superseded() == []

    def test_publishing_a_superseded_upload_again_does_not_bring_it_back(
        self, repository: Repository, alice: Client
    ) -> None:
        older, newer = stored_file(alice), stored_file(alice)
        for file in (older, newer, older):
            repository.publish_file(file)
        assert repository.find_file(alice.id, newer.name) == newer
        assert repository.superseded() == [(alice.id, older.object_id)]


class TestManyAtOnce:
    def test_of_many_who_register_one_name_exactly_one_wins(self, repository: Repository) -> None:
        rivals = [client("Alice") for _ in range(8)]
        won = at_once(lambda rival: _accepted(repository, rival), rivals)
        assert won.count(True) == 1
        assert list(repository.clients()) == [rivals[won.index(True)]]

    def test_of_two_repositories_that_register_one_name_exactly_one_wins(
        self, repository: Repository, open_another: Open
    ) -> None:
        pairs = [(repository, client("Alice")), (open_another(), client("Alice"))]
        assert sorted(at_once(lambda pair: _accepted(*pair), pairs)) == [False, True]

    def test_of_many_uploads_under_one_name_one_is_visible_and_all_others_superseded(
        self, repository: Repository, alice: Client
    ) -> None:
        rivals = [stored_file(alice) for _ in range(12)]
        at_once(repository.publish_file, rivals)
        visible = [file.object_id for file in repository.files(alice.id)]
        superseded = [object_id for _, object_id in repository.superseded()]
        assert len(visible) == 1
        assert sorted(visible + superseded) == sorted(file.object_id for file in rivals)

    def test_one_upload_published_by_many_at_once_is_published_once(
        self, repository: Repository, alice: Client
    ) -> None:
        file = stored_file(alice)
        at_once(repository.publish_file, [file] * 8)
        assert list(repository.files(alice.id)) == [file]
        assert repository.superseded() == []

    def test_more_threads_than_connections_are_all_served(self, repository: Repository) -> None:
        newcomers = [client(f"client {number}") for number in range(60)]

        def arrive(newcomer: Client) -> None:
            repository.add_client(newcomer)
            repository.set_public_key(newcomer.id, KEY, AES, 42)
            repository.publish_file(stored_file(newcomer))

        at_once(arrive, newcomers)
        usages = [repository.usage(newcomer.id).files for newcomer in newcomers]
        assert usages == [1] * len(newcomers)

    def test_what_one_repository_wrote_another_reads(
        self, repository: Repository, alice: Client, open_another: Open
    ) -> None:
        file = stored_file(alice)
        repository.publish_file(file)
        assert open_another().find_file(alice.id, file.name) == file


def test_a_closed_repository_refuses_to_answer(open_another: Open) -> None:
    repository = open_another()
    repository.close()
    with pytest.raises(RepositoryError):
        repository.find_client(os.urandom(16))


def _accepted(repository: Repository, newcomer: Client) -> bool:
    try:
        repository.add_client(newcomer)
    except NameTaken:
        return False
    return True

"""What every repository promises about listing, removing and renaming files."""

import itertools
import os
from dataclasses import replace

import pytest

from server.repository import Client, Renamed, Renaming, Repository, RepositoryError, StoredFile
from tests.server.repository.conftest import Open
from tests.server.repository.samples import at_once, client, stored_file


def _publish(repository: Repository, owner: Client, *names: str) -> list[StoredFile]:
    files = [stored_file(owner, name) for name in names]
    for file in files:
        repository.publish_file(file)
    return files


def _names(repository: Repository, owner: Client) -> list[str]:
    return [file.name for file in repository.files(owner.id)]


class TestListing:
    NAMES = (
        *("a", "a%", "a/", "a/%", "a/1", "a/10", "a/2", "a/B", "a/_", "a/b", "a0", "aa", "ab"),
        *("a\udcff", "a\udcff\udcff", "a\udcffb", "b", "\udcff", "ä", "ä/ö", "🦄"),
    )

    @pytest.fixture
    def listed(self, repository: Repository, alice: Client) -> Repository:
        bob = client("Bob")
        repository.add_client(bob)
        _publish(repository, alice, *self.NAMES)
        _publish(repository, bob, "a/bobs")
        return repository

    def test_a_listing_has_the_names_of_its_range_by_their_bytes(
        self, listed: Repository, alice: Client
    ) -> None:
        def raw(name: str) -> bytes:
            return name.encode("utf-8", "surrogateescape")

        # Every name as a prefix and as the end of a page, and some that are no names.
        bounds = ("", *self.NAMES, "%", "_", "A", "a\0", "a/1x", "ä/", "zz")
        for prefix, after in itertools.product(bounds, bounds):
            found = [file.name for file in listed.list_files(alice.id, prefix, after, 100)]
            assert found == sorted(
                (
                    name
                    for name in self.NAMES
                    if raw(name).startswith(raw(prefix)) and raw(name) > raw(after)
                ),
                key=raw,
            )

    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    def test_pages_follow_each_other_without_gap_or_repetition(
        self, listed: Repository, alice: Client, limit: int
    ) -> None:
        found: list[str] = []
        while page := listed.list_files(alice.id, "a", found[-1] if found else "", limit):
            assert len(page) <= limit
            found += [file.name for file in page]
        assert found == [name for name in _names(listed, alice) if name.startswith("a")]

    def test_names_of_1024_bytes_are_listed_and_passed(
        self, repository: Repository, alice: Client
    ) -> None:
        longest = "n" * 1024
        _publish(repository, alice, "m", longest[:-1], longest, "o")
        assert [file.name for file in repository.list_files(alice.id, longest, "", 9)] == [longest]
        assert [file.name for file in repository.list_files(alice.id, "", longest, 9)] == ["o"]
        assert [file.name for file in repository.list_files(alice.id, "", longest[:-1], 9)] == [
            longest,
            "o",
        ]

    def test_a_listing_gives_whole_files(self, repository: Repository, alice: Client) -> None:
        files = _publish(repository, alice, "a", "b")
        assert repository.list_files(alice.id, "", "", 9) == files

    def test_an_unknown_client_has_nothing_to_list(self, listed: Repository) -> None:
        assert listed.list_files(os.urandom(16), "", "", 9) == []


class TestRemoving:
    def test_a_removed_file_is_gone_and_its_object_superseded(
        self, repository: Repository, alice: Client
    ) -> None:
        removed, kept = _publish(repository, alice, "a", "b")
        assert repository.remove_file(alice.id, "a") == removed.object_id
        assert list(repository.files(alice.id)) == [kept]
        assert repository.superseded() == [(alice.id, removed.object_id)]

    def test_a_file_that_is_not_there_is_not_removed(
        self, repository: Repository, alice: Client
    ) -> None:
        _publish(repository, alice, "a")
        assert repository.remove_file(alice.id, "A") is None
        assert repository.remove_file(os.urandom(16), "a") is None
        assert _names(repository, alice) == ["a"]

    def test_of_many_who_remove_one_file_exactly_one_is_told_its_object(
        self, repository: Repository, open_another: Open, alice: Client
    ) -> None:
        (file,) = _publish(repository, alice, "a")
        places = [repository, open_another()]
        told = at_once(lambda each: places[each % 2].remove_file(alice.id, "a"), range(8))
        assert [each for each in told if each is not None] == [file.object_id]

    def test_a_name_is_free_after_its_file_was_removed(
        self, repository: Repository, alice: Client
    ) -> None:
        older, newer = stored_file(alice), stored_file(alice)
        repository.publish_file(older)
        repository.remove_file(alice.id, older.name)
        assert repository.publish_file(newer) is None
        assert list(repository.files(alice.id)) == [newer]


class TestRenaming:
    @pytest.mark.parametrize("replace_files", [False, True])
    def test_a_renamed_file_has_its_new_name_only(
        self, repository: Repository, alice: Client, replace_files: bool
    ) -> None:
        (file,) = _publish(repository, alice, "old")
        told = repository.rename_file(alice.id, "old", "new/ä", replace=replace_files)
        assert told == Renamed(Renaming.DONE)
        assert list(repository.files(alice.id)) == [replace(file, name="new/ä")]
        assert repository.superseded() == []

    def test_a_file_in_the_way_is_replaced_when_that_is_wanted(
        self, repository: Repository, alice: Client
    ) -> None:
        moved, replaced = _publish(repository, alice, "old", "new")
        told = repository.rename_file(alice.id, "old", "new", replace=True)
        assert told == Renamed(Renaming.DONE, replaced.object_id)
        assert list(repository.files(alice.id)) == [replace(moved, name="new")]
        assert repository.superseded() == [(alice.id, replaced.object_id)]

    def test_a_file_in_the_way_stays_otherwise(self, repository: Repository, alice: Client) -> None:
        files = _publish(repository, alice, "new", "old")
        told = repository.rename_file(alice.id, "old", "new", replace=False)
        assert told == Renamed(Renaming.EXISTS)
        assert list(repository.files(alice.id)) == files

    @pytest.mark.parametrize("replace_files", [False, True])
    def test_a_file_that_is_not_there_replaces_nothing(
        self, repository: Repository, alice: Client, replace_files: bool
    ) -> None:
        files = _publish(repository, alice, "new")
        for owner in (alice.id, os.urandom(16)):
            told = repository.rename_file(owner, "old", "new", replace=replace_files)
            assert told == Renamed(Renaming.NOT_FOUND)
        assert list(repository.files(alice.id)) == files

    @pytest.mark.parametrize("replace_files", [False, True])
    def test_a_file_renamed_to_its_own_name_stays(
        self, repository: Repository, alice: Client, replace_files: bool
    ) -> None:
        files = _publish(repository, alice, "same")
        told = repository.rename_file(alice.id, "same", "same", replace=replace_files)
        assert told == Renamed(Renaming.DONE)
        assert list(repository.files(alice.id)) == files
        assert repository.superseded() == []

    def test_a_name_differs_from_its_other_capitals(
        self, repository: Repository, alice: Client
    ) -> None:
        _publish(repository, alice, "report")
        repository.rename_file(alice.id, "report", "Report", replace=False)
        assert _names(repository, alice) == ["Report"]

    def test_a_new_name_that_is_too_long_leaves_the_old_one(
        self, repository: Repository, alice: Client
    ) -> None:
        files = _publish(repository, alice, "old")
        with pytest.raises(RepositoryError):
            repository.rename_file(alice.id, "old", "n" * 1025, replace=True)
        assert list(repository.files(alice.id)) == files

    def test_of_many_files_renamed_to_one_name_exactly_one_is(
        self, repository: Repository, open_another: Open, alice: Client
    ) -> None:
        _publish(repository, alice, *map(str, range(8)))
        places = [repository, open_another()]

        def rename(number: int) -> Renaming:
            place = places[number % 2]
            return place.rename_file(alice.id, str(number), "new", replace=False).outcome

        told = at_once(rename, range(8))
        assert told.count(Renaming.DONE) == 1
        assert told.count(Renaming.EXISTS) == 7
        assert len(_names(repository, alice)) == 8

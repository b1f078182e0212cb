"""What the MySQL repository makes of commits whose answer is lost, and of attempts undone."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from mysql.connector import OperationalError
from mysql.connector.errors import InternalError

from protocol.messages4 import Policy
from server.repository import (
    Client,
    Publication,
    Published,
    Renamed,
    Renaming,
    Repository,
    Token,
)
from server.repository.mysql import MySQLRepository
from server.repository.mysql_connections import Address, Session
from tests.server.repository.conftest import OpenAt
from tests.server.repository.samples import (
    client,
    content4,
    publication,
    receipt_of,
    sign,
    stored_file,
    upload,
)

LOST = OperationalError(errno=2013)
DEADLOCK = InternalError(errno=1213, msg="Deadlock found")
DIGEST = bytes(range(32))


@dataclass
class Commits:
    """Decides what becomes of the next commit of a session, or of a later one when some are to
    succeed `untouched`; `meanwhile` happens before anybody can repeat it."""

    monkeypatch: pytest.MonkeyPatch
    untouched: int = 0

    def lose_answer(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The commit succeeds and nobody hears of it."""
        self._arm(Session.commit, meanwhile, LOST)

    def undo(self, meanwhile: Callable[[], object]) -> None:
        """A deadlock with somebody undoes the transaction."""
        self._arm(lambda session: session.abandon(DEADLOCK), meanwhile, DEADLOCK)

    def _arm(
        self, end: Callable[[Session], None], meanwhile: Callable[[], object], error: Exception
    ) -> None:
        commit = Session.commit

        def end_once(session: Session) -> None:
            if self.untouched:
                self.untouched -= 1
                commit(session)
                return
            end(session)
            self.monkeypatch.setattr(Session, "commit", commit)
            meanwhile()
            raise error

        self.monkeypatch.setattr(Session, "commit", end_once)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    return Commits(monkeypatch)


@pytest.fixture
def repository(address: Address, open_at: OpenAt) -> MySQLRepository:
    return open_at(address)


@pytest.fixture
def another(address: Address, open_at: OpenAt) -> MySQLRepository:
    return open_at(address)


class TestClients:
    def test_a_registration_succeeds_once(self, repository: Repository, commits: Commits) -> None:
        newcomer = client()
        commits.lose_answer()
        repository.add_client(newcomer)
        assert list(repository.clients()) == [newcomer]

    def test_a_registration_with_a_token_succeeds_once(
        self, repository: Repository, commits: Commits
    ) -> None:
        newcomer = client()
        repository.add_token(Token(DIGEST, None, newcomer.registered_at + 1, 1))
        commits.lose_answer()
        repository.add_client(newcomer, DIGEST)
        assert list(repository.clients()) == [newcomer]
        assert repository.tokens() == []

    def test_a_public_key_is_reported_as_set(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        commits.lose_answer()
        assert repository.set_public_key(alice.id, b"key", b"aes", 1)

    def test_a_reconnect_is_reported_as_recorded(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        commits.lose_answer()
        assert repository.record_reconnect(alice.id, b"aes", 1)

    def test_disabling_is_reported_as_done(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        commits.lose_answer()
        assert repository.set_disabled(alice.id, True)

    def test_a_removed_client_is_reported_with_its_objects(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        file = stored_file(alice)
        repository.publish_file(file)
        commits.lose_answer()
        assert repository.remove_client(alice.id) == [file.object_id]

    def test_a_token_is_kept_once(self, repository: Repository, commits: Commits) -> None:
        token = Token(DIGEST, "Alice", 2, 1)
        commits.lose_answer()
        repository.add_token(token)
        assert repository.tokens() == [token]

    def test_a_revoked_token_is_reported_as_removed(
        self, repository: Repository, commits: Commits
    ) -> None:
        repository.add_token(Token(DIGEST, "Alice", 2, 1))
        commits.lose_answer()
        assert repository.remove_token(DIGEST)


class TestPublications:
    def test_a_publication_replaces_once(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        older, newer = stored_file(alice), stored_file(alice)
        repository.publish_file(older)
        commits.lose_answer()
        assert repository.publish_file(newer) == older.object_id
        assert repository.find_file(alice.id, newer.name) == newer
        assert repository.superseded() == [(alice.id, older.object_id)]

    def test_what_was_replaced_and_swept_meanwhile_is_not_reported_again(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        older, newer = stored_file(alice), stored_file(alice)
        repository.publish_file(older)
        commits.lose_answer(lambda: another.forget_superseded(older.object_id))
        assert repository.publish_file(newer) is None

    def test_a_publication_replaced_and_swept_meanwhile_does_not_come_back(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        older, newer = stored_file(alice), stored_file(alice)

        def replace_and_sweep() -> None:
            another.publish_file(newer)
            another.forget_superseded(older.object_id)

        commits.lose_answer(replace_and_sweep)
        repository.publish_file(older)
        assert repository.find_file(alice.id, newer.name) == newer
        # Swept once more, at worst: its bytes may be gone, the newer file's must not be.
        assert repository.superseded() == [(alice.id, older.object_id)]

    def test_a_publication_replaced_but_not_swept_meanwhile_tells_what_it_replaced(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        oldest, older, newer = (stored_file(alice) for _ in range(3))
        repository.publish_file(oldest)
        commits.lose_answer(lambda: another.publish_file(newer))
        assert repository.publish_file(older) == oldest.object_id
        assert repository.find_file(alice.id, newer.name) == newer

    def test_a_publication_renamed_meanwhile_stays_where_it_is(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        file = stored_file(alice, "old")
        commits.lose_answer(lambda: another.rename_file(alice.id, "old", "new", replace=False))
        assert repository.publish_file(file) is None
        assert list(repository.files(alice.id)) == [replace(file, name="new")]

    def test_a_completed_upload_that_was_removed_and_swept_meanwhile_does_not_come_back(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        ours = publication(content4(alice))

        def remove_and_sweep() -> None:
            another.remove_file(alice.id, ours.file.name)
            another.forget_superseded(ours.file.object_id)

        commits.lose_answer(remove_and_sweep)
        assert repository.publish([ours], sign) == [Published(None, receipt=receipt_of(ours))]
        assert list(repository.files(alice.id)) == []

    def test_an_upload_that_forbids_replacing_does_not_meet_itself(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        ours = publication(content4(alice), Policy.NEVER)
        commits.lose_answer()
        assert repository.publish([ours], sign) == [Published(None, receipt=receipt_of(ours))]

    def test_an_attempt_undone_is_no_excuse_to_replace_what_the_policy_protects(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        theirs, ours = (publication(content4(alice), Policy.NEVER) for _ in range(2))
        commits.undo(lambda: another.publish([theirs], sign))
        assert repository.publish([ours], sign) == [Published(None, refused=True)]
        assert list(repository.files(alice.id)) == [theirs.file]

    def test_what_an_undone_attempt_would_have_replaced_is_not_reported_once_it_moved(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        older, newer = content4(alice, "old"), content4(alice, "old")
        repository.publish_file(older)
        ours = publication(newer)

        def move_and_publish() -> None:
            another.rename_file(alice.id, "old", "kept", replace=False)
            another.publish([ours], sign)

        commits.undo(move_and_publish)
        assert repository.publish([ours], sign) == [Published(None, receipt=receipt_of(ours))]
        assert repository.find_file(alice.id, "kept") == replace(older, name="kept")

    def test_a_batch_is_published_once(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        batch = [publication(content4(alice, name)) for name in ("a", "b", "a")]
        batch.append(Publication(stored_file(alice, "c")))
        commits.lose_answer()
        told = repository.publish(batch, sign)
        assert [each.superseded for each in told] == [None, None, batch[0].file.object_id, None]
        assert [each.file for each in (batch[2], batch[1], batch[3])] == list(
            repository.files(alice.id)
        )


class TestNames:
    def test_a_removed_file_is_reported_as_removed(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        file = stored_file(alice)
        repository.publish_file(file)
        commits.lose_answer()
        assert repository.remove_file(alice.id, file.name) == file.object_id

    def test_a_file_published_after_a_removal_is_not_removed(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        older, newer = stored_file(alice), stored_file(alice)
        repository.publish_file(older)
        commits.lose_answer(lambda: another.publish_file(newer))
        assert repository.remove_file(alice.id, older.name) == older.object_id
        assert list(repository.files(alice.id)) == [newer]

    def test_a_file_that_moved_before_its_removal_is_not_found(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        file = stored_file(alice, "old")
        repository.publish_file(file)
        commits.undo(lambda: another.rename_file(alice.id, "old", "new", replace=False))
        assert repository.remove_file(alice.id, "old") is None
        assert repository.find_file(alice.id, "new") == replace(file, name="new")

    @pytest.mark.parametrize("swept", [False, True])
    def test_a_renamed_file_is_reported_as_renamed(
        self,
        repository: Repository,
        another: Repository,
        alice: Client,
        commits: Commits,
        swept: bool,
    ) -> None:
        moved, replaced = stored_file(alice, "old"), stored_file(alice, "new")
        repository.publish_file(moved)
        repository.publish_file(replaced)
        commits.lose_answer(
            lambda: another.forget_superseded(replaced.object_id) if swept else None
        )
        told = repository.rename_file(alice.id, "old", "new", replace=True)
        assert told == Renamed(Renaming.DONE, replaced.object_id)

    def test_a_file_published_after_a_renaming_keeps_its_name(
        self, repository: Repository, another: Repository, alice: Client, commits: Commits
    ) -> None:
        moved, newer = stored_file(alice, "old"), stored_file(alice, "old")
        repository.publish_file(moved)
        commits.lose_answer(lambda: another.publish_file(newer))
        told = repository.rename_file(alice.id, "old", "new", replace=True)
        assert told == Renamed(Renaming.DONE)
        assert list(repository.files(alice.id)) == [replace(moved, name="new"), newer]


class TestUploads:
    def test_an_upload_is_begun_once(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        begun = upload(alice)
        commits.lose_answer()
        assert repository.begin_upload(begun) == begun
        assert list(repository.pending_uploads()) == [begun]

    def test_a_dropped_upload_is_reported_as_dropped(
        self, repository: Repository, alice: Client, commits: Commits
    ) -> None:
        begun = repository.begin_upload(upload(alice))
        commits.lose_answer()
        assert repository.drop_upload(alice.id, begun.upload_id)

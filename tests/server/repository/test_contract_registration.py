"""What every repository promises about tokens, and about clients shut out or removed."""

import os
from dataclasses import replace

import pytest

from server.repository import (
    Client,
    NameTaken,
    Repository,
    RepositoryError,
    Token,
    TokenRefused,
)
from tests.server.repository.conftest import Open
from tests.server.repository.samples import (
    at_once,
    client,
    completion,
    content4,
    publication,
    sign,
    stored_file,
    upload,
)

KEY = bytes(range(256))
NOW = client().registered_at


def _token(name: str | None = None, *, expires_at: int = NOW + 1, created_at: int = 1) -> Token:
    return Token(os.urandom(32), name, expires_at, created_at)


class TestTokens:
    def test_tokens_are_found_as_they_were_added_oldest_first(self, repository: Repository) -> None:
        tokens = [
            _token("caf\udce9", created_at=1),
            _token(None, created_at=2),
            _token("B" * 255, expires_at=2**40, created_at=3),
        ]
        for token in reversed(tokens):
            repository.add_token(token)
        assert repository.tokens() == tokens

    def test_the_same_token_again_is_accepted(self, repository: Repository) -> None:
        token = _token()
        repository.add_token(token)
        repository.add_token(token)
        assert repository.tokens() == [token]

    def test_another_token_of_the_same_digest_is_refused(self, repository: Repository) -> None:
        token = _token()
        repository.add_token(token)
        with pytest.raises(RepositoryError):
            repository.add_token(replace(token, expires_at=NOW + 2))
        assert repository.tokens() == [token]

    def test_a_removed_token_is_gone(self, repository: Repository) -> None:
        kept, removed = _token(), _token()
        for token in (kept, removed):
            repository.add_token(token)
        assert repository.remove_token(removed.digest)
        assert repository.tokens() == [kept]

    def test_removing_an_unknown_token_tells_so(self, repository: Repository) -> None:
        assert not repository.remove_token(os.urandom(32))


class TestRegistration:
    @pytest.mark.parametrize("name", [None, "Bob"])
    def test_a_good_token_registers_a_client_and_is_used_up(
        self, repository: Repository, name: str | None
    ) -> None:
        token, kept = _token(name), _token()
        for each in (token, kept):
            repository.add_token(each)
        newcomer = client("Bob", public_key=KEY)
        repository.add_client(newcomer, token.digest)
        assert repository.find_client(newcomer.id) == newcomer
        assert repository.tokens() == [kept]

    def test_a_registration_again_with_the_same_key_gets_the_same_id_and_uses_no_token(
        self, repository: Repository
    ) -> None:
        used, unused = _token(), _token()
        for each in (used, unused):
            repository.add_token(each)
        first = client("Bob", public_key=KEY)
        assert repository.add_client(first, used.digest) == first.id
        for digest in (used.digest, unused.digest, os.urandom(32), None):
            again = client("Bob", public_key=KEY)
            assert repository.add_client(again, digest) == first.id
        assert list(repository.clients()) == [first]
        assert repository.tokens() == [unused]

    def test_another_key_does_not_get_the_id_of_a_registered_name(
        self, repository: Repository
    ) -> None:
        repository.add_client(client("Bob", public_key=KEY))
        for key in (None, KEY[::-1]):
            with pytest.raises(NameTaken):
                repository.add_client(client("Bob", public_key=key))

    def test_an_unknown_token_registers_nobody(self, repository: Repository) -> None:
        with pytest.raises(TokenRefused):
            repository.add_client(client(), os.urandom(32))
        assert list(repository.clients()) == []

    @pytest.mark.parametrize(
        "token", [_token(expires_at=NOW), _token("Bobby"), _token("bob"), _token("Bob ")]
    )
    def test_an_expired_token_or_one_for_another_name_registers_nobody_and_stays(
        self, repository: Repository, token: Token
    ) -> None:
        repository.add_token(token)
        with pytest.raises(TokenRefused):
            repository.add_client(client("Bob"), token.digest)
        assert list(repository.clients()) == []
        assert repository.tokens() == [token]

    def test_all_refusals_of_a_token_read_alike(self, repository: Repository) -> None:
        bad = [_token(expires_at=NOW), _token("Bobby"), _token()]
        for token in bad:
            repository.add_token(token)
        repository.remove_token(bad[-1].digest)
        told: set[str] = set()
        for token in bad:
            with pytest.raises(TokenRefused) as refused:
                repository.add_client(client("Bob"), token.digest)
            told.add(str(refused.value))
        assert len(told) == 1

    def test_a_used_token_registers_nobody_else(
        self, repository: Repository, alice: Client
    ) -> None:
        token = _token()
        repository.add_token(token)
        repository.add_client(client("Bob"), token.digest)
        with pytest.raises(TokenRefused):
            repository.add_client(client("Carol"), token.digest)

    def test_a_bad_token_is_told_before_a_taken_name(
        self, repository: Repository, alice: Client
    ) -> None:
        with pytest.raises(TokenRefused):
            repository.add_client(client(alice.name), os.urandom(32))

    def test_a_taken_name_leaves_the_token_unused(
        self, repository: Repository, alice: Client
    ) -> None:
        token = _token()
        repository.add_token(token)
        with pytest.raises(NameTaken):
            repository.add_client(client(alice.name), token.digest)
        assert repository.tokens() == [token]

    def test_the_same_registration_again_is_accepted(self, repository: Repository) -> None:
        token = _token()
        repository.add_token(token)
        newcomer = client()
        for _ in range(2):
            repository.add_client(newcomer, token.digest)
        assert list(repository.clients()) == [newcomer]

    def test_an_id_under_another_name_does_not_pass_with_a_used_token(
        self, repository: Repository
    ) -> None:
        token = _token()
        repository.add_token(token)
        newcomer = client()
        repository.add_client(newcomer, token.digest)
        with pytest.raises(TokenRefused):
            repository.add_client(replace(newcomer, name="Bob"), token.digest)

    def test_of_many_registrations_with_one_token_exactly_one_wins(
        self, repository: Repository, open_another: Open
    ) -> None:
        token = _token()
        repository.add_token(token)
        places = [repository, open_another()]
        rivals = [client(f"client {number}") for number in range(8)]

        def register(number: int) -> bool:
            try:
                places[number % 2].add_client(rivals[number], token.digest)
            except TokenRefused:
                return False
            return True

        won = at_once(register, range(len(rivals)))
        assert won.count(True) == 1
        assert list(repository.clients()) == [rivals[won.index(True)]]

    def test_of_many_tokens_for_one_name_exactly_one_is_used(self, repository: Repository) -> None:
        tokens = [_token() for _ in range(6)]
        for token in tokens:
            repository.add_token(token)

        def register(token: Token) -> bool:
            try:
                repository.add_client(client("Bob"), token.digest)
            except NameTaken:
                return False
            return True

        won = at_once(register, tokens)
        assert won.count(True) == 1
        left = [token.digest for token in repository.tokens()]
        assert tokens[won.index(True)].digest not in left
        assert len(left) == len(tokens) - 1


class TestClients:
    def test_a_client_is_found_by_exactly_its_name(
        self, repository: Repository, alice: Client
    ) -> None:
        assert repository.find_client_by_name("Alice") == alice
        assert repository.find_client_by_name("alice") is None
        assert repository.find_client_by_name("Alice ") is None

    def test_a_client_is_disabled_and_enabled_again(
        self, repository: Repository, alice: Client
    ) -> None:
        assert repository.set_disabled(alice.id, True)
        assert repository.find_client(alice.id) == replace(alice, disabled=True)
        assert repository.set_disabled(alice.id, False)
        assert repository.find_client(alice.id) == alice

    def test_disabling_twice_succeeds_twice(self, repository: Repository, alice: Client) -> None:
        for _ in range(2):
            assert repository.set_disabled(alice.id, True)

    def test_an_unknown_client_cannot_be_disabled(
        self, repository: Repository, alice: Client
    ) -> None:
        assert not repository.set_disabled(os.urandom(16), True)
        assert list(repository.clients()) == [alice]

    def test_a_disabled_client_may_be_added(self, repository: Repository) -> None:
        newcomer = replace(client(), disabled=True)
        repository.add_client(newcomer)
        assert list(repository.clients()) == [newcomer]


class TestRemoval:
    def test_a_removed_client_leaves_nothing_but_superseded_objects(
        self, repository: Repository, alice: Client
    ) -> None:
        old, new, small = stored_file(alice), content4(alice), content4(alice, "small")
        repository.publish_file(old)
        repository.publish([publication(each) for each in (new, small)], sign)
        complete = completion(repository.begin_upload(upload(alice, "large")))
        repository.publish([complete], sign)
        pending = repository.begin_upload(upload(alice))
        removed = repository.remove_client(alice.id)

        live = [new.object_id, small.object_id, complete.file.object_id, pending.object_id]
        assert removed is not None
        assert sorted(removed) == sorted(live)
        assert sorted(repository.superseded()) == sorted(
            (alice.id, each) for each in [*live, old.object_id]
        )
        assert list(repository.clients()) == []
        assert list(repository.files(alice.id)) == []
        assert list(repository.pending_uploads()) == []
        assert complete.upload_id is not None
        assert repository.find_upload(alice.id, complete.upload_id) is None

    def test_an_unknown_client_cannot_be_removed(self, repository: Repository) -> None:
        assert repository.remove_client(os.urandom(16)) is None

    def test_other_clients_keep_what_they_have(self, repository: Repository, alice: Client) -> None:
        bob = client("Bob")
        repository.add_client(bob)
        files = [stored_file(each) for each in (alice, bob)]
        pending = [repository.begin_upload(upload(each)) for each in (alice, bob)]
        for file in files:
            repository.publish_file(file)
        repository.remove_client(alice.id)
        assert list(repository.files(bob.id)) == files[1:]
        assert list(repository.pending_uploads()) == pending[1:]

    def test_the_name_of_a_removed_client_is_free(
        self, repository: Repository, alice: Client
    ) -> None:
        repository.remove_client(alice.id)
        successor = client(alice.name)
        repository.add_client(successor)
        assert list(repository.clients()) == [successor]

    def test_a_client_removed_while_it_publishes_leaves_no_file(
        self, repository: Repository, open_another: Open, alice: Client
    ) -> None:
        another = open_another()
        files = [stored_file(alice, str(number)) for number in range(6)]

        def act(number: int) -> list[bytes] | None:
            if number == 3:
                return another.remove_client(alice.id)
            try:
                repository.publish_file(files[number])
            except RepositoryError:
                return None
            return None

        at_once(act, range(len(files)))
        assert list(repository.files(alice.id)) == []
        assert repository.find_client(alice.id) is None

"""Where the state lives, and identities in it."""

from pathlib import Path

import pytest
from Crypto.PublicKey import RSA

import client
from client.address import Address
from client.errors import AlreadyRegistered, BadState, NotRegistered, NotWritten
from client.identity4 import Identities, Identity4
from client.state import Places, locked, read_text

ADDRESS = Address("::1", 7)


def test_without_a_directory_it_is_where_the_system_keeps_such_things(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    places = Places.of(None)

    assert places.known_servers == tmp_path / "config/eft/known_servers"
    assert places.identities == tmp_path / "config/eft/identities"
    assert places.receipts == tmp_path / "data/eft/receipts"
    assert places.uploads == tmp_path / "data/eft/uploads"


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadState):
        read_text(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten), locked(tmp_path / "file" / "lock"):
        pass


@pytest.mark.usefixtures("quick_keys")
def test_a_registration_without_an_answer_goes_on_with_the_same_key(tmp_path: Path) -> None:
    identities = Identities(tmp_path / "identities")
    key = identities.begin(ADDRESS)
    assert identities.begin(ADDRESS) == key


@pytest.mark.usefixtures("quick_keys")
def test_an_identity_is_kept_as_it_was_registered(tmp_path: Path) -> None:
    identities = Identities(tmp_path / "identities")
    with pytest.raises(NotRegistered):
        identities.load(ADDRESS)
    key = identities.begin(ADDRESS)
    identity = Identity4("Miriam כהן", bytes(range(16)), key)

    identities.complete(ADDRESS, identity)

    assert identities.load(ADDRESS) == identity
    assert key[30:60].decode() not in repr(identity)
    path = identities.path(ADDRESS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["[::1]:7.pem"]
    assert RSA.import_key(path.read_text().partition("-----BEGIN")[2].join(["-----BEGIN", ""]))
    with pytest.raises(AlreadyRegistered):
        identities.begin(ADDRESS)


def test_an_identity_that_is_unusable_is_told_without_its_key(
    tmp_path: Path, rsa_3072: bytes, private_key: bytes
) -> None:
    identities = Identities(tmp_path)
    head = f"name: a\nclient id: {'00' * 16}\n"
    short = RSA.import_key(private_key).export_key("PEM").decode()
    good = rsa_3072.decode()
    for text in (
        "",
        head,
        f"{head}-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n",
        head + short,
        head + RSA.import_key(rsa_3072).public_key().export_key("PEM").decode(),
        f"name: a\nclient id: 00\n{good}",
        f"name: a\nclient id: xyz\n{good}",
        f"name: a\n a\nclient id:\n{good}",
    ):
        identities.path(ADDRESS).touch(0o600)
        identities.path(ADDRESS).write_text(text)
        with pytest.raises(BadState) as caught:
            identities.load(ADDRESS)
        assert "secret" not in str(caught.value)
    identities.path(ADDRESS).write_text(head + good)
    assert identities.load(ADDRESS).name == "a"


@pytest.mark.usefixtures("quick_keys")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    identities = Identities(tmp_path / "my identities")
    key = identities.begin(ADDRESS)
    unfinished = identities.path(ADDRESS).with_suffix(".pem.new")
    unfinished.chmod(mode)
    with pytest.raises(BadState, match=r"lets others read it; chmod 600 '.*my ident.*new'$"):
        identities.begin(ADDRESS)

    unfinished.chmod(0o600)
    identities.complete(ADDRESS, Identity4("alice", bytes(16), key))
    identities.path(ADDRESS).chmod(mode)
    with pytest.raises(BadState, match=r"lets others read it; chmod 600 '.*my ident.*pem'$"):
        identities.load(ADDRESS)

    identities.path(ADDRESS).chmod(0o400)
    assert identities.load(ADDRESS).name == "alice"


def test_the_package_gives_what_it_names() -> None:
    for name in client.__all__:
        assert getattr(client, name).__name__ == name
    with pytest.raises(AttributeError):
        client.Nothing  # noqa: B018

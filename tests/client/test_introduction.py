"""Coming by a session key: known, unknown, refused and cut off."""

import base64
from pathlib import Path

import pytest

from client.errors import BadSessionKey, ConnectionLost, NotWritten, RegistrationRefused
from client.identity import Identity, IdentityStore
from client.introduction import Introduction
from protocol.messages3 import (
    GeneralError,
    KeyAccepted,
    Reconnected,
    ReconnectRefused,
    Registered,
    RegistrationFailed,
    SendPublicKey,
)
from tests.client.scripted import CLIENT_ID, SESSION_KEY, ScriptedChannel, session_on, wrap

NEW_ID = bytes(range(100, 116))


class FreshClient(ScriptedChannel):
    """Answers the public key with a session key sealed for it."""

    def receive(self) -> bytes:
        if isinstance(self.requests[-1], SendPublicKey) and self.is_used_up:
            from Crypto.Cipher import PKCS1_OAEP
            from Crypto.PublicKey import RSA

            key = RSA.import_key(self.requests[-1].public_key)
            answer = KeyAccepted(self.client_ids[-1], PKCS1_OAEP.new(key).encrypt(SESSION_KEY))
            return self._generation.pack_response(answer)
        return super().receive()


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path)


def introduce(channel: ScriptedChannel, store: IdentityStore) -> bytes:
    return Introduction(session_on(channel), store, 16, lambda _step: None).session_key("alice")


def known(store: IdentityStore, private_key: bytes) -> None:
    store.complete(store.begin("alice", CLIENT_ID, private_key))


def test_a_new_client_registers_and_is_stored(store: IdentityStore) -> None:
    channel = FreshClient(Registered(NEW_ID))

    assert introduce(channel, store) == SESSION_KEY
    assert channel.kinds == ["Register", "SendPublicKey"]
    identity = store.load()
    assert identity is not None
    assert (identity.name, identity.client_id) == ("alice", NEW_ID)
    assert store.load_unfinished() is None


def test_a_known_client_reconnects_and_writes_nothing(
    store: IdentityStore, private_key: bytes, tmp_path: Path
) -> None:
    known(store, private_key)
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    channel = ScriptedChannel(Reconnected(CLIENT_ID, wrap(private_key, SESSION_KEY)))

    assert introduce(channel, store) == SESSION_KEY
    assert channel.kinds == ["Reconnect"]
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before


def test_a_refused_client_registers_anew_and_keeps_its_old_key(
    store: IdentityStore, private_key: bytes, tmp_path: Path
) -> None:
    known(store, private_key)
    channel = FreshClient(ReconnectRefused(CLIENT_ID), Registered(NEW_ID))

    assert introduce(channel, store) == SESSION_KEY
    assert channel.kinds == ["Reconnect", "Register", "SendPublicKey"]
    identity = store.load()
    assert identity is not None
    assert identity.client_id == NEW_ID
    assert identity.private_key != private_key
    old = (tmp_path / "priv.key.old").read_bytes()
    assert base64.b64decode(old) == private_key


def test_a_registration_refused_leaves_the_identity_as_it_was(
    store: IdentityStore, private_key: bytes
) -> None:
    known(store, private_key)
    channel = ScriptedChannel(ReconnectRefused(CLIENT_ID), RegistrationFailed())

    with pytest.raises(RegistrationRefused):
        introduce(channel, store)

    assert store.load() == Identity("alice", CLIENT_ID, private_key)


def test_no_name_is_spent_when_the_identity_cannot_be_stored(tmp_path: Path) -> None:
    channel = ScriptedChannel()
    store = IdentityStore(tmp_path / "missing")

    with pytest.raises(NotWritten):
        introduce(channel, store)

    assert channel.sent == 0


@pytest.mark.parametrize("server_has_the_key", [True, False])
def test_a_registration_that_was_cut_off_is_completed_by_the_next_run(
    store: IdentityStore, server_has_the_key: bool
) -> None:
    with pytest.raises(ConnectionLost):
        introduce(ScriptedChannel(Registered(NEW_ID)), store)
    unfinished = store.load_unfinished()
    assert unfinished is not None
    assert store.load() is None
    if server_has_the_key:
        wrapped = wrap(unfinished.usable_key, SESSION_KEY)
        channel = ScriptedChannel(Reconnected(NEW_ID, wrapped))
    else:
        channel = FreshClient(ReconnectRefused(NEW_ID))

    assert introduce(channel, store) == SESSION_KEY
    assert channel.kinds == ["Reconnect"] + ["SendPublicKey"] * (not server_has_the_key)
    assert store.load() == Identity("alice", NEW_ID, unfinished.private_key)


def test_an_id_without_a_key_gets_one(store: IdentityStore, tmp_path: Path) -> None:
    (tmp_path / "me.info").write_text(f"alice\n{CLIENT_ID.hex()}\n")
    channel = FreshClient(ReconnectRefused(CLIENT_ID))

    assert introduce(channel, store) == SESSION_KEY
    assert channel.kinds == ["Reconnect", "SendPublicKey"]
    identity = store.load()
    assert identity is not None
    assert identity.client_id == CLIENT_ID
    assert identity.private_key is not None


def test_a_registration_that_the_server_forgot_is_replaced_and_its_key_used_again(
    store: IdentityStore, private_key: bytes, other_key: bytes
) -> None:
    known(store, other_key)
    store.begin("alice", NEW_ID, private_key)
    channel = FreshClient(
        ReconnectRefused(NEW_ID),
        *[GeneralError()] * 4,
        ReconnectRefused(CLIENT_ID),
        Registered(bytes(16)),
    )

    assert introduce(channel, store) == SESSION_KEY
    assert store.load() == Identity("alice", bytes(16), private_key)


def test_an_older_identity_is_tried_when_an_unfinished_one_is_refused(
    store: IdentityStore, private_key: bytes, other_key: bytes
) -> None:
    known(store, private_key)
    store.begin("alice", NEW_ID, other_key)
    channel = ScriptedChannel(
        ReconnectRefused(NEW_ID),
        *[GeneralError()] * 4,
        Reconnected(CLIENT_ID, wrap(private_key, SESSION_KEY)),
    )

    assert introduce(channel, store) == SESSION_KEY


@pytest.mark.parametrize("is_new", [True, False])
def test_a_session_key_that_does_not_open_changes_no_identity(
    store: IdentityStore, private_key: bytes, is_new: bool
) -> None:
    if is_new:
        channel = ScriptedChannel(Registered(NEW_ID), KeyAccepted(NEW_ID, bytes(128)))
    else:
        known(store, private_key)
        channel = ScriptedChannel(Reconnected(CLIENT_ID, bytes(128)))
    before = store.load()

    with pytest.raises(BadSessionKey):
        introduce(channel, store)

    assert store.load() == before

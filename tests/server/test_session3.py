"""The rules of a protocol-3 connection, each by itself, with no network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.repository import Client
from tests.peer import client as peer
from tests.peer import crypto, wire
from tests.peer.generations import GENERATIONS
from tests.peer.style import Style
from tests.peer4.client import client_key, public_der
from tests.server.hostile_sessions import SessionPeer, Sessions, private_key, sessions

CONTENT = b"some content that takes several blocks " * 5
STRANGER = bytes(range(16))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Sessions]:
    with sessions(tmp_path / "data") as made:
        yield made
        made.close_peers()
        assert made.staged() == []


def other_key_request(client: SessionPeer) -> bytes:
    """The public key of another pair, under this client's name and id."""
    field = crypto.public_der(crypto.make_key()).ljust(wire.PUBLIC_KEY_SIZE, b"\0")
    payload = client.style.name_field(client.name) + field
    return client.request(client.generation.public_key, payload)


# What needs a key: sent before there is one, or with another client's id

KEYED: dict[str, Callable[[SessionPeer], bytes]] = {
    "file": lambda client: client.file_requests("file", CONTENT)[0],
    "valid": lambda client: client.name_request(client.generation.crc_valid, "file"),
    "invalid": lambda client: client.name_request(client.generation.crc_invalid, "file"),
    "abandoned": lambda client: client.name_request(client.generation.crc_abandoned, "file"),
}
every_keyed = pytest.mark.parametrize("make", KEYED.values(), ids=KEYED)


@every_keyed
def test_before_the_keys_it_is_refused_and_the_connection_goes_on(
    served: Sessions, make: Callable[[SessionPeer], bytes]
) -> None:
    client = served.peer()
    client.register()
    client.aes_key = bytes(16)
    client.send_raw(make(client))
    assert client.codes() == [2107]
    client.send_public_key()
    client.store("file", CONTENT)


@every_keyed
def test_with_another_id_than_the_connections_it_is_refused(
    served: Sessions, make: Callable[[SessionPeer], bytes]
) -> None:
    other, client = served.introduced(name="other"), served.introduced()
    own, client.client_id = client.client_id, other.client_id
    client.send_raw(make(client))
    assert client.codes() == [2107]
    client.client_id = own
    client.store("file", CONTENT)


# Identity


def test_a_registration_ignores_the_client_id(served: Sessions) -> None:
    first = served.peer(style=Style(garbage_id_when_registering=True))
    assert first.register() != served.peer(name="second").register()


def test_a_taken_name_cannot_be_registered_again(served: Sessions) -> None:
    served.introduced()
    again = served.peer()
    with pytest.raises(peer.RegistrationFailed):
        again.register()
    again.name = b"another name"
    again.register()


def test_a_client_id_never_begins_like_a_tls_handshake(
    served: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = iter([b"\x16" + bytes(15), b"\x16" * 16, STRANGER])
    monkeypatch.setattr("server.keys.os.urandom", lambda _size: next(draws, STRANGER))
    assert served.peer().register() == STRANGER


def test_a_client_that_registered_over_protocol_4_is_not_reached_over_protocol_3(
    served: Sessions,
) -> None:
    # Whoever sees a receipt knows its id and name, and reconnecting proves nothing.
    key = public_der(client_key())
    served.repository.add_client(Client(STRANGER, "peer", 1, 1, key))
    client = served.peer(client_id=STRANGER)
    with pytest.raises(peer.GeneralError):
        client.reconnect()
    with pytest.raises(peer.GeneralError):
        client.send_public_key()
    assert served.repository.find_client(STRANGER) == Client(STRANGER, "peer", 1, 1, key)


def test_a_disabled_client_is_told_to_register_again(served: Sessions) -> None:
    client = served.introduced()
    assert client.client_id is not None
    served.repository.set_disabled(client.client_id, True)
    with pytest.raises(peer.ReconnectRefused):
        served.again(client).reconnect()
    with pytest.raises(peer.GeneralError):
        served.again(client).send_public_key()
    served.repository.set_disabled(client.client_id, False)
    served.again(client).reconnect()


@pytest.mark.parametrize("client_id", [bytes(16), STRANGER], ids=["zeros", "unknown"])
def test_a_public_key_by_name_alone_is_refused(served: Sessions, client_id: bytes) -> None:
    served.peer().register()
    with pytest.raises(peer.GeneralError):
        served.peer(client_id=client_id).send_public_key()


def test_a_public_key_by_id_alone_is_refused(served: Sessions) -> None:
    victim = served.peer()
    victim.register()
    with pytest.raises(peer.GeneralError):
        served.again(victim, name="another").send_public_key()


def test_a_public_key_is_set_only_once(served: Sessions) -> None:
    victim = served.introduced()
    thief = served.again(victim)
    thief.send_raw(other_key_request(thief))
    assert thief.codes() == [2107]
    assert len(served.again(victim).reconnect()) == 16


def test_the_same_public_key_again_is_answered_with_a_fresh_aes_key(served: Sessions) -> None:
    client = served.introduced()
    first = client.aes_key
    assert client.send_public_key() != first
    client.store("file", CONTENT)


@pytest.mark.parametrize("bits", [512, 1016, 1032])
def test_a_public_key_of_another_size_is_refused(served: Sessions, bits: int) -> None:
    client = served.peer(style=Style(public_key_bits=bits), private_key=crypto.make_key(bits))
    client.register()
    der = crypto.public_der(client.private_key or private_key())[: wire.PUBLIC_KEY_SIZE]
    payload = client.style.name_field(client.name) + der.ljust(wire.PUBLIC_KEY_SIZE, b"\0")
    client.send_raw(client.request(client.generation.public_key, payload))
    assert client.codes() == [2107]


@pytest.mark.parametrize(
    "field",
    [bytes(160), b"\xff" * 160, b"-----BEGIN PUBLIC KEY-----".ljust(160), b"\x30\x81\x9d" * 53],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(served: Sessions, field: bytes) -> None:
    client = served.peer()
    client.register()
    payload = client.style.name_field(client.name) + field.ljust(160, b"\0")
    client.send_raw(client.request(client.generation.public_key, payload))
    assert client.codes() == [2107]
    client.send_public_key()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_reconnect_needs_both_id_and_name(tmp_path: Path, generation: str) -> None:
    shared = generation if generation in {"2023b", "2024a"} else "2024a"
    with sessions(tmp_path / "data", generation_1025=shared) as served:
        alice, bob = (served.introduced(generation, name=name) for name in ("Alice", "Bob"))
        for stranger in (
            served.again(alice, client_id=bob.client_id),
            served.again(alice, client_id=STRANGER),
            served.again(alice, name="Bob"),
            served.again(alice, name="alice"),
            served.again(alice, name=""),
        ):
            with pytest.raises(peer.ReconnectRefused):
                stranger.reconnect()
            assert stranger.violations == []
        assert served.again(alice).reconnect() != alice.aes_key


def test_a_client_without_a_public_key_cannot_reconnect(served: Sessions) -> None:
    client = served.peer()
    client.register()
    with pytest.raises(peer.ReconnectRefused):
        served.again(client).reconnect()


def test_a_client_that_is_refused_registers_on_the_same_connection(served: Sessions) -> None:
    client = served.peer(client_id=STRANGER)
    assert client.run("file", CONTENT).registered
    assert served.stored() == {"file": CONTENT}


def test_a_connections_old_key_opens_nothing_after_a_reconnect(served: Sessions) -> None:
    client = served.introduced()
    old = client.file_requests("file", CONTENT)[0]
    client.reconnect()
    client.send_raw(old)
    assert client.codes() == [2107]


# The verdict


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
def test_a_file_is_visible_only_once_its_checksum_is_said_to_be_valid(
    served: Sessions, generation: str
) -> None:
    client = served.introduced(generation)
    client.send_file("file", CONTENT)
    assert served.stored() == {}
    client.crc_valid("file")
    assert served.stored() == {"file": CONTENT}


def test_a_verdict_without_a_file_is_refused(served: Sessions) -> None:
    client = served.introduced()
    with pytest.raises(peer.GeneralError):
        client.crc_valid("file")


def test_a_verdict_for_another_name_is_refused(served: Sessions) -> None:
    client = served.introduced()
    client.send_file("file", CONTENT)
    with pytest.raises(peer.GeneralError):
        client.crc_valid("other")
    assert served.stored() == {}
    client.crc_valid("file")
    assert served.stored() == {"file": CONTENT}


def test_a_verdict_counts_once(served: Sessions) -> None:
    client = served.introduced()
    client.store("file", CONTENT)
    with pytest.raises(peer.GeneralError):
        client.crc_valid("file")


def test_the_next_file_takes_the_place_of_one_that_awaits_its_verdict(served: Sessions) -> None:
    client = served.introduced()
    client.send_file("first", CONTENT)
    client.send_file("second", CONTENT)
    assert len(served.staged()) == 1
    with pytest.raises(peer.GeneralError):
        client.crc_valid("first")
    client.crc_valid("second")
    assert served.stored() == {"second": CONTENT}


def test_sending_again_is_not_answered_and_drops_the_file(served: Sessions) -> None:
    client = served.introduced()
    client.send_file("file", CONTENT)
    client.crc_invalid("file")
    assert client.codes() == []
    assert served.staged() == []


def test_giving_up_is_answered_and_drops_the_file(served: Sessions) -> None:
    client = served.introduced()
    client.send_file("file", CONTENT)
    client.crc_abandoned("file")
    assert served.staged() == []
    assert served.stored() == {}


def test_a_connection_that_ends_before_the_verdict_leaves_nothing(served: Sessions) -> None:
    client = served.introduced()
    client.send_file("file", CONTENT)
    client.close()
    assert (served.staged(), served.stored()) == ([], {})


def test_nothing_is_answered_after_the_end(served: Sessions) -> None:
    client = served.introduced()
    client.send_raw(b"\xff" * 23 + client.register_request())
    assert client.codes() == [2107]
    assert client.session.ended

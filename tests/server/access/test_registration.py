"""Who may register, and as whom."""

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.peer4 import wire
from tests.peer4.client import client_key, public_der
from tests.peer4.serving import Serving, serving
from tests.peer4.wire import RefusedError
from tests.server.access.registering import add_token, refused_registration


def test_where_registration_is_open_anybody_gets_an_id_and_connects(server: Serving) -> None:
    with server.peer("Ålice") as peer:
        client_id = peer.register()
        now, name = peer.prove(peer.proof(peer.challenge()))
    assert name == "Ålice"
    assert client_id[0] != 0x16
    assert abs(now - time.time()) < 5


def test_a_name_is_given_once(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
    assert refused_registration(server, "")[0] == wire.NAME_TAKEN


def test_the_connection_goes_on_after_a_taken_name(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
        with pytest.raises(RefusedError):
            peer.register(public_key=public_der(client_key(1)))
        peer.name = "bob"
        peer.register()
        peer.connect()


@pytest.mark.parametrize("name", [" a", "a ", "a\x07", "a\u202eb", "a\u2028b"])
def test_an_unsafe_client_name_is_refused(server: Serving, name: str) -> None:
    assert refused_registration(server, "", name)[0] == wire.UNSAFE_NAME


def test_a_token_registers_exactly_one_client(guarded: Serving) -> None:
    token = add_token(guarded)
    with guarded.peer() as peer:
        peer.register(token)
        peer.connect()
    assert refused_registration(guarded, token, "bob")[0] == wire.ACCESS_DENIED


def test_of_two_who_use_a_token_at_once_one_gets_in(guarded: Serving) -> None:
    for turn in range(5):
        token = add_token(guarded)
        barrier = threading.Barrier(4)

        def register(number: int, token: str = token, turn: int = turn,
                     barrier: threading.Barrier = barrier) -> bool:  # fmt: skip
            with guarded.peer(f"client {turn} {number}") as peer:
                barrier.wait()
                try:
                    peer.register(token)
                except RefusedError as error:
                    if error.reason != wire.ACCESS_DENIED:
                        raise
                    return False
                return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(register, range(4))) == 1


def test_every_bad_token_and_closed_registration_get_the_same_answer(tmp_path: Path) -> None:
    answers = set()
    with serving(tmp_path / "token", registration="token") as guarded:
        used = add_token(guarded)
        with guarded.peer("first") as peer:
            peer.register(used)
        for token in (
            "", "x", used, used.upper(), add_token(guarded, seconds=-1),
            add_token(guarded, name="bob"), secrets.token_urlsafe(32), "t" * 60_000,
        ):  # fmt: skip
            answers.add(refused_registration(guarded, token))
        # A taken name is not told to who has no good token.
        answers.add(refused_registration(guarded, "x", "first"))
    with serving(tmp_path / "closed", registration="closed") as closed:
        answers.add(refused_registration(closed, ""))
        answers.add(refused_registration(closed, add_token(closed)))
    assert len(answers) == 1
    assert answers.pop()[0] == wire.ACCESS_DENIED


def test_a_repeated_registration_with_the_same_key_gets_the_same_id(guarded: Serving) -> None:
    token = add_token(guarded)
    ids = set()
    for _ in range(3):
        with guarded.peer() as peer:
            ids.add(peer.register(token))
    assert len(ids) == 1


def test_a_taken_name_is_told_after_a_good_token_which_stays_good(guarded: Serving) -> None:
    with guarded.peer() as peer:
        peer.register(add_token(guarded))
    token = add_token(guarded)
    assert refused_registration(guarded, token, "alice")[0] == wire.NAME_TAKEN
    with guarded.peer("bob") as peer:
        peer.register(token)


def test_a_token_that_names_somebody_registers_them_alone(guarded: Serving) -> None:
    token = add_token(guarded, name="bob")
    assert refused_registration(guarded, token, "alice")[0] == wire.ACCESS_DENIED
    with guarded.peer("bob") as peer:
        peer.register(token)


def _keys_that_are_none() -> dict[str, bytes]:
    good = public_der(client_key())
    key = serialization.load_der_public_key(good)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def der(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
        return private.public_key().public_bytes(*spki)

    return {
        "empty": b"",
        "noise": bytes(range(200)),
        "elliptic": der(ec.generate_private_key(ec.SECP256R1())),
        "2048 bits": der(rsa.generate_private_key(65537, 2048)),
        "exponent 3": der(rsa.generate_private_key(3, 3072)),
        "PEM": key.public_bytes(serialization.Encoding.PEM, spki[1]),
        "PKCS 1": key.public_bytes(spki[0], serialization.PublicFormat.PKCS1),
        "private": client_key().export_key("DER", pkcs=8),
        "longer": good + b"\0",
        "shorter": good[:-1],
    }  # fmt: skip


def test_only_a_plain_rsa_3072_key_is_registered(server: Serving) -> None:
    for what, der in _keys_that_are_none().items():
        with server.peer() as peer, pytest.raises(RefusedError) as caught:
            peer.register(public_key=der)
        assert caught.value.reason == wire.ACCESS_DENIED, what
    assert list(server.repository.clients()) == []

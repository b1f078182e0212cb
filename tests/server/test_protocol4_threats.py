"""Every weakness of protocol 3 in docs/threat-model.md that needs another wire is gone in
protocol 4, and what our server had fixed on the old wire holds on the new one too."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from Crypto.PublicKey import ECC

from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut, client_key
from tests.peer4.serving import Serving, serving, until
from tests.peer4.wire import SEGMENT, RefusedError
from tests.peer4.wiretap import tapped

SECRET_NAME = "salaries-2026.ods"
CONTENT = b"the same beginning " * 5000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", max_failed_attempts=1000) as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer("alice the client") as made:
        yield made.introduce()


def test_no_server_authentication__whoever_answers_instead_cannot_open_or_relay_a_challenge(
    tmp_path: Path, peer: Peer4
) -> None:
    with serving(tmp_path / "impostor") as impostor:  # noqa: SIM117
        with impostor.peer(client_id=peer.client_id) as victim, peer.twin() as behind:
            # The certificate differs, which a client that has pinned it sees first;
            assert victim.fingerprint != peer.fingerprint
            # a relayed challenge does not open under the one that was seen,
            with pytest.raises(ValueError, match=r"."):
                victim.proof(behind.challenge())
            # and the impostor's own one is made for a key that it does not know.
            with pytest.raises(ValueError, match=r"."):
                victim.proof(victim.challenge())


@pytest.mark.parametrize("where", [2000, 40_000, 90_000])
def test_content_is_not_authenticated__a_bit_flipped_on_the_way_is_never_stored(
    server: Serving, peer: Peer4, where: int
) -> None:
    peer.put("f", b"older")
    with tapped(server.port, where) as tap:
        victim = peer.twin()
        victim.port = tap.port
        with pytest.raises((StreamCut, OSError)):
            victim.open().connect().upload("f", CONTENT)
        victim.cut()
    assert peer.get("f")[1] == b"older"


def test_content_is_not_authenticated__a_block_swapped_under_tls_does_not_verify(
    peer: Peer4,
) -> None:
    # As somebody could who ends TLS in the middle without the client's secret.
    upload_id, salt = os.urandom(16), os.urandom(32)
    peer.begin(upload_id, salt, "f", len(CONTENT))
    key = peer.key_of(upload_id, salt)
    sealed = wire.seal(key, upload_id, 0, CONTENT, final=True)
    peer.segment(upload_id, 0, sealed[16:32] + sealed[:16] + sealed[32:], final=True)
    assert peer.refusal() == wire.BAD_SEGMENT


def test_iv_of_zeros__the_same_content_twice_looks_different_each_time(peer: Peer4) -> None:
    peer.sent.clear()
    peer.upload("f", CONTENT)
    first = bytes(peer.sent)
    peer.sent.clear()
    peer.upload("f", CONTENT)
    blocks = {first[at : at + 16] for at in range(len(first) - 16)}
    assert not any(bytes(peer.sent[at : at + 16]) in blocks for at in range(100, 5000, 16))
    peer.sent.clear()


def test_padding_oracle__every_altered_ciphertext_gets_one_answer_and_ends_the_connection(
    peer: Peer4,
) -> None:
    answers = set()
    for at in (0, 1, 15, 16, 50, -16, -1):
        with peer.again() as attacker:
            attacker.send_put(
                "f",
                CONTENT[:64],
                spoil=lambda sealed, at=at: _flipped(sealed, at),  # type: ignore[misc]
            )
            response = attacker.receive()
            answers.add((response.code, response.payload))
            assert attacker.at_end()
    assert len(answers) == 1
    assert peer.names() == []


def _flipped(data: bytes, at: int) -> bytes:
    altered = bytearray(data)
    altered[at] ^= 1
    return bytes(altered)


def test_checksum_oracle__recorded_ciphertext_replayed_tells_nothing(peer: Peer4) -> None:
    request = peer.send_put("f", CONTENT[:100])
    recorded = bytes(peer.sent[-(wire.HEADER_BYTES + 32 + 2 + 63 + 3 + 116) :])
    peer.stored(request)
    peer.remove("f")
    with peer.again() as attacker:  # even as the same client
        attacker.transmit(recorded)
        assert attacker.refusal() == wire.BAD_SEGMENT
    assert peer.names() == []


def test_takeover_of_a_name__a_registered_name_or_id_gets_no_other_key(
    server: Serving, peer: Peer4
) -> None:
    with Peer4(server.port, peer.name, key=client_key(1)) as attacker:
        with pytest.raises(RefusedError) as caught:
            attacker.register()
        assert caught.value.reason == wire.NAME_TAKEN
        attacker.client_id = peer.client_id
        with pytest.raises(ValueError, match=r"."):
            attacker.proof(attacker.challenge())
    with peer.again() as still:
        still.put("f", b"mine")


def test_possession_of_the_key_is_never_proven__without_it_nothing_can_be_sent(
    server: Serving, peer: Peer4
) -> None:
    peer.put("f", b"hers")
    with Peer4(server.port, peer.name, client_id=peer.client_id) as attacker:
        attacker.challenge()
        attacker.send_put("f", os.urandom(64))
        assert attacker.refusal() == wire.PROTOCOL
    assert peer.get("f")[1] == b"hers"


def test_open_registration__by_default_nobody_registers_without_a_token(tmp_path: Path) -> None:
    from server.config import Config

    assert Config().registration == "token"
    with serving(tmp_path / "guarded", registration="token") as guarded, guarded.peer() as peer:
        with pytest.raises(RefusedError) as caught:
            peer.register()
        assert caught.value.reason == wire.ACCESS_DENIED


def test_names_and_ids_in_clear__a_wiretap_sees_no_name_id_or_content(
    server: Serving, peer: Peer4
) -> None:
    with tapped(server.port) as tap:
        with peer.twin() as unused:
            unused.cut()
        watched = peer.twin()
        watched.port = tap.port
        with watched:
            watched.connect()
            watched.put(SECRET_NAME, CONTENT[:1000])
            watched.get(SECRET_NAME)
            watched.names()
    assert peer.client_id is not None
    for secret in (
        SECRET_NAME.encode(), peer.name.encode(), peer.client_id, CONTENT[:16],
        peer.client_id.hex().encode(),
    ):  # fmt: skip
        assert secret not in tap.seen
    assert len(tap.seen) > 2000


def test_rsa_1024__only_keys_of_3072_bits_are_registered_and_used(server: Serving) -> None:
    with server.peer() as peer:
        peer.register()
        assert peer.key.size_in_bits() == 3072
        assert len(peer.challenge()) * 8 == 3072


def test_no_forward_secrecy__the_channel_has_a_key_exchange_of_its_own(peer: Peer4) -> None:
    # TLS 1.3 has no other: neither the certificate's key nor the client's opens a recording.
    assert peer.tls.version() == "TLSv1.3"
    assert not peer.tls.session_reused


def test_path_traversal__names_never_become_paths(server: Serving, peer: Peer4) -> None:
    beside = set(server.data.parent.rglob("*"))
    for name in ("../x", "/etc/cron.d/x", "a/../../x"):
        with pytest.raises(RefusedError):
            peer.put(name, b"x")
    assert set(server.data.parent.rglob("*")) == beside
    peer.put("C:\\x", b"x")  # a plain name here, since no name is part of a path
    assert all(set(path.name) <= set("0123456789abcdef") for path in server.objects())


def test_verdict_confusion__an_end_concerns_the_upload_that_this_connection_began(
    server: Serving, peer: Peer4
) -> None:
    upload_id, salt = os.urandom(16), os.urandom(32)
    peer.begin(upload_id, salt, "f", len(CONTENT))
    peer.send_content(upload_id, salt, CONTENT)
    with server.peer("bob") as bob, peer.again() as again:
        bob.introduce()
        for other in (bob, again):
            with pytest.raises(RefusedError) as caught:
                other.end(upload_id, len(CONTENT), wire.digest(CONTENT))
            assert caught.value.reason == wire.UNKNOWN_UPLOAD
    assert peer.end(upload_id, len(CONTENT), wire.digest(CONTENT)).size == len(CONTENT)


def test_database_theft__the_database_holds_nothing_that_lets_anybody_in(
    server: Serving, peer: Peer4
) -> None:
    (client,) = server.repository.clients()
    assert client.wrapped_aes_key is None
    assert client.public_key is not None
    database = (server.data / "eft.sqlite3").read_bytes()
    assert peer.secret not in database
    assert (server.data / "receipt.key").read_bytes() not in database


def test_secrets_in_logs__no_secret_token_key_or_content_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"), serving(tmp_path / "data") as server, server.peer() as peer:
        peer.introduce()
        peer.put("f", CONTENT[:64])
        peer.upload("g", CONTENT)
        with server.peer("bob") as bob:
            bob.register("a-token-that-is-secret")
            with pytest.raises(RefusedError):
                bob.prove(bytes(32))
    logged = "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "Put" in logged
    for secret in (peer.secret, CONTENT[:64], (tmp_path / "data" / "receipt.key").read_bytes()):
        assert secret.hex() not in logged
        assert repr(secret)[2:-1] not in logged
    assert "a-token-that-is-secret" not in logged


def test_log_forgery__a_line_break_in_a_name_never_begins_a_line_of_the_log(
    peer: Peer4, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RefusedError) as caught:
        peer.put("x\nERROR all is lost", b"")
    assert "\n" not in caught.value.text
    assert not any("\nERROR all" in str(record.__dict__) for record in caplog.records)


def test_truncation__a_stream_cut_off_under_tls_is_never_taken_for_an_end(
    server: Serving, peer: Peer4
) -> None:
    with peer.again() as victim:
        upload_id, salt = os.urandom(16), os.urandom(32)
        victim.begin(upload_id, salt, "f", None)  # the size alone would not tell
        key = victim.key_of(upload_id, salt)
        sealed = wire.seal(key, upload_id, 0, bytes(SEGMENT), final=False)
        victim.segment(upload_id, 0, sealed, final=False)
        victim.cut()
    peer.abandon(upload_id)
    assert peer.names() == []
    until(server.is_tidy, "nothing is kept")


def test_a_receipt_cannot_be_forged_or_altered(peer: Peer4) -> None:
    requests = [peer.send_put(f"f{number}", b"x") for number in range(20)]
    receipts = [peer.stored(request) for request in requests]
    receipt = max(receipts, key=lambda receipt: len(receipt.path))
    body, path = receipt.body, receipt.path
    good = (body, receipt.index, receipt.count, path, receipt.signature)
    altered: list[tuple[bytes, int, int, tuple[bytes, ...], bytes]] = [
        (other, *good[1:])
        for other in (_flipped(body, 20), _flipped(body, -1), body + b"\0", body[:-1], b"")
    ]
    altered += [
        (body, receipt.index + 1, *good[2:]),
        (body, receipt.index, receipt.count + 1, *good[3:]),
        (*good[:3], (*path, bytes(32)), receipt.signature),
        *((*good[:3], path[:at], receipt.signature) for at in range(len(path))),
        *((*good[:3], (*path[:at], bytes(32), *path[at + 1 :]), receipt.signature)
          for at in range(len(path))),
        (*good[:4], _flipped(receipt.signature, 0)),
        (*good[:4], _flipped(receipt.signature, -1)),
    ]  # fmt: skip
    wire.verify(peer.receipt_key, *good)
    for forged in altered:
        with pytest.raises(wire.NotAuthentic):
            wire.verify(peer.receipt_key, *forged)
    with pytest.raises(wire.NotAuthentic):
        wire.verify(_another_key(), *good)


def _another_key() -> bytes:
    return ECC.generate(curve="Ed25519").public_key().export_key(format="raw")


def test_who_ends_tls_in_the_middle_without_the_secret_reads_no_content(peer: Peer4) -> None:
    upload_id, salt = os.urandom(16), os.urandom(32)
    sealed = wire.seal(peer.key_of(upload_id, salt), upload_id, 0, CONTENT, final=True)
    assert peer.client_id is not None
    guess = wire.content_key(os.urandom(32), salt, wire.TO_SERVER, peer.client_id, upload_id)
    with pytest.raises(wire.NotAuthentic):
        wire.unseal(guess, upload_id, 0, sealed, final=True)
    assert CONTENT[:16] not in sealed

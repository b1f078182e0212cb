"""TLS, the certificate, and protocol 3 on the same port."""

import re
import shutil
import signal
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from server.certificate import Certificate
from tests.peer4.client import Peer4, StreamCut, tls_context
from tests.peer4.serving import ServerProcess4, Serving, serves_honest, serving, until

# TLS


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("eft/5", "eft/40")])
def test_without_the_right_alpn_name_nothing_is_served(
    server: Serving, alpn: tuple[str, ...]
) -> None:
    peer = server.peer()
    try:
        peer.open(alpn)
        with pytest.raises((StreamCut, OSError)):
            peer.register()
    except OSError:
        pass  # refused in the handshake is as good
    finally:
        peer.close()
    assert list(server.repository.clients()) == []
    serves_honest(server)


def test_the_right_alpn_name_among_others_is_chosen(server: Serving) -> None:
    peer = server.peer().open(("http/1.1", "eft/4"))
    assert peer.tls.selected_alpn_protocol() == "eft/4"
    peer.introduce()
    peer.close()


def test_tls_1_2_is_refused(server: Serving) -> None:
    context = tls_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:  # noqa: SIM117
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
            context.wrap_socket(plain)
    serves_honest(server)


def test_tls_1_3_is_what_is_spoken_and_no_session_is_resumed(server: Serving) -> None:
    with server.peer() as peer:
        peer.introduce()
        peer.put("a", b"a")
        assert peer.tls.version() == "TLSv1.3"
        assert peer.tls.session is None or not peer.tls.session.has_ticket


def test_half_handshakes_time_out(tmp_path: Path) -> None:
    with serving(tmp_path / "data", handshake_seconds=0.5, idle_seconds=0.5) as server:
        silent = socket.create_connection(("127.0.0.1", server.port), 10)
        hello = socket.create_connection(("127.0.0.1", server.port), 10)
        hello.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        anonymous = server.peer().open()
        registered = server.peer("b").open()
        registered.register()
        challenged = server.peer("c").open()
        challenged.register()
        challenged.challenge()
        with silent, hello:
            assert silent.recv(1) == b""
            while hello.recv(100):
                pass
        for peer in (anonymous, registered, challenged):
            assert peer.at_end()
            peer.close()
        serves_honest(server)


def test_a_connection_that_is_in_outlives_the_time_for_the_handshake(tmp_path: Path) -> None:
    with serving(tmp_path / "data", handshake_seconds=0.4) as server, server.peer() as peer:
        peer.introduce()
        time.sleep(0.6)
        peer.put("late", b"late")


# Protocol 3 on the same port


def _protocol_3(port: int, host: str = "127.0.0.1") -> bytes:
    registration = bytes(16) + b"\3" + struct.pack("<HI", 1025, 255) + b"old".ljust(255, b"\0")
    with socket.create_connection((host, port), 10) as connection:
        connection.sendall(registration)
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b""


def test_protocol_3_is_served_on_the_same_port_of_loopback(server: Serving) -> None:
    serves_honest(server)
    assert _protocol_3(server.port)[:3] == b"\3" + struct.pack("<H", 1600)


@pytest.mark.parametrize("allowed", [False, True])
def test_elsewhere_protocol_3_is_served_only_where_it_is_allowed(
    tmp_path: Path, allowed: bool
) -> None:
    with serving(tmp_path / "data", host="0.0.0.0", allow_protocol_3=allowed) as server:  # noqa: S104
        assert bool(_protocol_3(server.port)) is allowed
        serves_honest(server)


# The certificate


def test_the_certificate_outlives_the_server(tmp_path: Path) -> None:
    seen = set()
    for _ in range(2):
        with serving(tmp_path / "data") as server, server.peer() as peer:
            seen.add(peer.fingerprint)
    assert len(seen) == 1


def test_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        serves_honest(server)
    for name in ("certificate.key", "receipt.key"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


def _pair(directory: Path) -> tuple[Path, Path]:
    directory.mkdir()
    Certificate.own(directory)
    return directory / "certificate.pem", directory / "certificate.key"


def _fingerprint(port: int) -> bytes:
    with Peer4(port) as peer:
        return peer.fingerprint


def test_sighup_takes_a_new_certificate_and_keeps_the_old_one_when_it_is_broken(
    tmp_path: Path,
) -> None:
    chain, key = _pair(tmp_path / "used")
    newer_chain, newer_key = _pair(tmp_path / "newer")
    arguments = ("--certificate", str(chain), "--certificate-key", str(key))
    with ServerProcess4(tmp_path / "data", *arguments) as server:
        first = _fingerprint(server.port)
        held = Peer4(server.port).open().introduce()

        shutil.copy(newer_chain, chain)  # the key does not fit it
        server.signal(signal.SIGHUP)
        until(lambda: "certificate in use stays" in server.log, "the reload fails")
        assert _fingerprint(server.port) == first

        chain.write_text("nothing in PEM")
        server.signal(signal.SIGHUP)
        until(lambda: server.log.count("certificate in use stays") == 2, "the reload fails")
        chain.unlink()
        server.signal(signal.SIGHUP)
        until(lambda: server.log.count("certificate in use stays") == 3, "the reload fails")
        with held.again() as again:
            assert again.fingerprint == first

        shutil.copy(newer_chain, chain)
        shutil.copy(newer_key, key)
        server.signal(signal.SIGHUP)
        until(lambda: _fingerprint(server.port) != first, "the reload succeeds")
        held.put("before", b"goes on")
        held.close()
        with held.twin() as anew:
            anew.connect()
            assert anew.get("before")[1] == b"goes on"
        server.signal(signal.SIGTERM)
        assert server.status() == 0
        assert re.search("Traceback", server.log) is None


def test_a_key_that_others_can_read_or_that_wants_a_password_is_refused(tmp_path: Path) -> None:
    chain, key = _pair(tmp_path / "used")
    certificate = Certificate(chain, key)
    in_use = certificate.current
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.chmod(0o644)
    with pytest.raises(Exception, match="open to others"):
        certificate.reload()
    key.chmod(0o600)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(Exception, match="certificate"):
        certificate.reload()
    assert certificate.current == in_use

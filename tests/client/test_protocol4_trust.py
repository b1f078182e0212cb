"""Which servers are trusted, and what happens with the others."""

import contextlib
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client import Client
from client.address import Address
from client.errors import (
    BadInput,
    BadState,
    ChallengeNotOpened,
    ConnectionLost,
    ServerChanged,
    ServerCrowded,
    ServerFault,
    ServerSilent,
    UnknownServer,
    WrongFingerprint,
)
from client.known_servers import KnownServers
from client.trust import Trust
from protocol.channel import parse_fingerprint
from tests.client.relay import Pair, relaying, self_signed, server_context
from tests.client.running4 import Server4, serving

pytestmark = pytest.mark.usefixtures("quick_keys", "waits")


@contextmanager
def tls_server(
    context: ssl.SSLContext | None, behave: Callable[[socket.socket], object] | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """Shakes hands, reads what comes, and remembers it; or does with a connection as told."""
    received: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connected = listening.accept()[0]
            except OSError:
                return
            with connected, contextlib.suppress(OSError):
                connected.settimeout(5)
                if behave:
                    behave(connected)
                elif context:
                    with context.wrap_socket(connected, server_side=True) as tls:
                        while data := tls.recv(1000):
                            received.append(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", received
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def known(tmp_path: Path) -> str:
    path = tmp_path / "state/known_servers"
    return path.read_text() if path.exists() else ""


def client_of(
    address: str,
    tmp_path: Path,
    *,
    fingerprint: str | None = None,
    ca_file: Path | None = None,
    ask: Callable[[str, str], bool] | None = None,
    timeout: float = 10,
) -> Client:
    return Client(
        address,
        directory=tmp_path / "state",
        fingerprint=fingerprint,
        ca_file=ca_file,
        on_unknown_server=ask,
        timeout=timeout,
        retries=0,
    )


def test_a_server_that_is_unknown_is_asked_about_and_then_known(
    server4: Server4, tmp_path: Path
) -> None:
    asked: list[tuple[str, str]] = []

    def yes(server: str, fingerprint: str) -> bool:
        asked.append((server, fingerprint))
        return True

    with client_of(server4.address, tmp_path, ask=yes) as client:
        client.register("alice")
        client.whoami()
    with client_of(server4.address, tmp_path) as client:
        assert client.whoami().fingerprint == server4.fingerprint

    assert asked == [(server4.address, server4.fingerprint)]
    assert known(tmp_path).startswith(f"{server4.address} {server4.fingerprint} ")
    assert (tmp_path / "state/known_servers").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("ask", [None, lambda _server, _fingerprint: False])
def test_a_server_that_nobody_vouches_for_gets_nothing(
    tmp_path: Path, ask: Callable[[str, str], bool] | None
) -> None:
    pair = self_signed(tmp_path)
    with tls_server(server_context(pair)) as (address, received):
        client = client_of(address, tmp_path, ask=ask)
        with pytest.raises(UnknownServer) as caught:
            client.register("alice")
    assert caught.value.fingerprint == pair.fingerprint
    assert pair.fingerprint in str(caught.value)
    assert received == []
    assert known(tmp_path) == ""


def test_a_fingerprint_that_was_given_is_enough_and_remembered(
    server4: Server4, tmp_path: Path
) -> None:
    with client_of(server4.address, tmp_path, fingerprint=server4.fingerprint) as client:
        client.register("alice")
    with client_of(server4.address, tmp_path) as client:
        assert client.whoami().name == "alice"


def test_a_wrong_fingerprint_stops_before_anything_is_sent(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    with tls_server(server_context(pair)) as (address, received):
        client = client_of(address, tmp_path, fingerprint=f"SHA256:{'A' * 43}")
        with pytest.raises(WrongFingerprint, match="nothing was sent"):
            client.register("alice")
    assert received == []
    assert known(tmp_path) == ""


def test_a_changed_certificate_is_a_hard_stop(tmp_path: Path) -> None:
    first, second = self_signed(tmp_path / "1"), self_signed(tmp_path / "2")
    asked: list[str] = []

    def ask(server: str, _fingerprint: str) -> bool:
        asked.append(server)
        return True

    with tls_server(server_context(second)) as (address, received):
        host, _, port = address.partition(":")
        servers = KnownServers(tmp_path / "state/known_servers")
        servers.trust(Address(host, int(port)), parse_fingerprint(first.fingerprint))
        before = known(tmp_path)
        for fingerprint in (None, second.fingerprint):
            client = client_of(
                address,
                tmp_path,
                ask=ask,
                fingerprint=fingerprint,
                ca_file=second.certificate,
            )
            with pytest.raises(ServerChanged) as caught:
                client.register("alice")
            assert caught.value.known == first.fingerprint
            assert caught.value.presented == second.fingerprint
    assert received == []
    assert asked == []
    assert known(tmp_path) == before


def test_another_fingerprint_than_that_of_a_known_server_is_no_change_of_the_server(
    tmp_path: Path,
) -> None:
    pair = self_signed(tmp_path)
    another = "SHA256:" + "B" * 42 + "A"
    with tls_server(server_context(pair)) as (address, received):
        host, _, port = address.partition(":")
        servers = KnownServers(tmp_path / "state/known_servers")
        servers.trust(Address(host, int(port)), parse_fingerprint(pair.fingerprint))
        before = known(tmp_path)
        client = client_of(address, tmp_path, fingerprint=another)
        with pytest.raises(WrongFingerprint, match="Correct the option"):
            client.register("alice")
    assert received == []
    assert known(tmp_path) == before


def test_a_pinned_certificate_may_have_expired(tmp_path: Path) -> None:
    pair = self_signed(tmp_path / "c", days=-1)
    with serving(
        tmp_path / "server", certificate=pair.certificate, certificate_key=pair.key
    ) as server:
        with client_of(server.address, tmp_path, fingerprint=pair.fingerprint) as client:
            assert client.register("alice")
        other = client_of(server.address, tmp_path / "o", ca_file=pair.certificate)
        with pytest.raises(UnknownServer, match="expired"):
            other.register("bob")


def test_a_certificate_authority_may_vouch_for_a_server(tmp_path: Path) -> None:
    pair = self_signed(tmp_path / "c")
    with serving(
        tmp_path / "server", certificate=pair.certificate, certificate_key=pair.key
    ) as server:
        with client_of(server.address, tmp_path, ca_file=pair.certificate) as client:
            client.register("alice")
            assert client.whoami().fingerprint == pair.fingerprint
        assert known(tmp_path).startswith(f"{server.address} CA ")

        # From now on somebody has to: a server that shows a bare certificate is not that server.
        without = client_of(server.address, tmp_path, ask=lambda _server, _fingerprint: True)
        with pytest.raises(ServerChanged) as caught:
            without.whoami()
        assert caught.value.known == "CA"
        # The likeliest cause by far, which is no reason for an alarm.
        assert "give --ca-file again" in str(caught.value)


def test_a_certificate_for_another_host_is_not_enough(tmp_path: Path) -> None:
    pair = self_signed(tmp_path / "c", host="192.0.2.1")
    with tls_server(server_context(pair)) as (address, received):
        client = client_of(address, tmp_path, ca_file=pair.certificate)
        with pytest.raises(UnknownServer, match="mismatch"):
            client.register("alice")
    assert received == []


def test_somebody_in_the_middle_who_is_trusted_by_mistake_learns_no_secret(
    server4: Server4, tmp_path: Path
) -> None:
    with client_of(server4.address, tmp_path, fingerprint=server4.fingerprint) as client:
        client.register("alice")
    pair = self_signed(tmp_path / "middle")
    identity = next((tmp_path / "state/identities").glob("*.pem"))
    with relaying(server4.address, pair) as relay:
        shutil.copy(identity, identity.with_name(f"{relay.address}.pem"))
        victim = client_of(relay.address, tmp_path, ask=lambda _server, _fingerprint: True)
        with victim, pytest.raises(ChallengeNotOpened):
            victim.whoami()
    assert [type(message).__name__ for message in relay.seen] == ["Connect", "Challenge"]


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_a_server_that_speaks_something_else_in_tls_gets_nothing(
    tmp_path: Path, alpn: str | None
) -> None:
    pair = self_signed(tmp_path)
    with tls_server(server_context(pair, alpn)) as (address, received):
        client = client_of(address, tmp_path, fingerprint=pair.fingerprint)
        with pytest.raises(ServerFault, match="not protocol 4"):
            client.register("alice")
    assert received == []


def test_older_tls_is_not_spoken(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    context = server_context(pair)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with tls_server(context) as (address, received):
        client = client_of(address, tmp_path, fingerprint=pair.fingerprint)
        with pytest.raises(ServerFault, match=r"TLS 1\.3"):
            client.register("alice")
    assert received == []


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (lambda s: s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(100)), ServerFault),
        (socket.socket.close, ConnectionLost),
        (lambda s: s.recv(10_000) and s.sendall(bytes.fromhex("15030300020250")), ServerCrowded),
        (lambda s: s.recv(10_000) and s.sendall(bytes.fromhex("15030300020228")), ServerFault),
        (lambda s: s.recv(10_000) and s.recv(1), ServerSilent),
    ],
)
def test_what_is_not_tls_is_an_error(
    tmp_path: Path, behave: Callable[[socket.socket], object], expected: type[Exception]
) -> None:
    with tls_server(None, behave) as (address, _):
        client = client_of(address, tmp_path, fingerprint=f"SHA256:{'A' * 43}", timeout=0.5)
        with pytest.raises(expected):
            client.register("alice")


def test_the_fingerprint_can_be_looked_at_without_trusting(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    with tls_server(server_context(pair)) as (address, received):
        client = client_of(address, tmp_path)
        assert client.presented_fingerprint() == pair.fingerprint
    assert received == []
    assert known(tmp_path) == ""


def test_a_fingerprint_that_is_none_is_bad_input(tmp_path: Path) -> None:
    for text in ("", "MD5:abc", "SHA256:short", f"SHA256:{'!' * 43}"):
        with pytest.raises(BadInput):
            client_of("127.0.0.1:1", tmp_path, fingerprint=text)


def test_a_line_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "known_servers"
    path.touch(0o600)
    address = Address("h", 1)
    for line in ("h:1", "h:1 SHA256:x -", "h:1 CA eHl6", "h:1 CA - more", "\udcff"):
        path.write_text(f"# mine\n\n{line}\n", "utf-8", "surrogateescape")
        with pytest.raises(BadState):
            KnownServers(path).find(address)
        with pytest.raises(BadState):
            KnownServers(path).trust(address, None)


def test_a_file_that_others_can_change_does_not_tell_whom_to_trust(tmp_path: Path) -> None:
    path = tmp_path / "known_servers"
    KnownServers(path).trust(Address("h", 1), None)
    path.chmod(0o664)
    with pytest.raises(BadState, match=f"lets others change it; chmod 600 {path}$"):
        KnownServers(path).all()

    path.chmod(0o644)
    assert [known.server for known in KnownServers(path).all()] == ["h:1"]


def test_known_servers_keep_their_receipt_keys_when_the_certificate_changes(
    tmp_path: Path,
) -> None:
    servers, address = KnownServers(tmp_path / "known"), Address("Host.example", 1)
    servers.add_receipt_key(address, bytes(32))  # of a server that is not trusted: not kept
    assert servers.all() == ()
    servers.trust(address, b"\1" * 32)
    servers.add_receipt_key(address, b"\2" * 32)
    servers.add_receipt_key(address, b"\3" * 32)
    servers.add_receipt_key(address, b"\2" * 32)
    servers.trust(Address("other", 2), None)

    servers.trust(Address("host.EXAMPLE", 1), b"\4" * 32)

    found = servers.find(address)
    assert found is not None
    assert (found.fingerprint, found.receipt_keys) == (b"\4" * 32, (b"\2" * 32, b"\3" * 32))
    assert len(servers.receipt_keys()) == 2
    assert servers.forget(address)
    assert not servers.forget(address)
    assert [known.server for known in servers.all()] == ["other:2"]


def test_processes_that_trust_at_once_lose_nothing(tmp_path: Path) -> None:
    servers = KnownServers(tmp_path / "known")
    threads = [
        threading.Thread(target=servers.trust, args=(Address("host", port), None))
        for port in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(servers.all()) == 20


def test_a_certificate_authority_file_must_hold_one(tmp_path: Path) -> None:
    trust = Trust(
        Address("127.0.0.1", 1), KnownServers(tmp_path / "known"), 1, ca_file=tmp_path / "missing"
    )
    with pytest.raises(BadInput, match="No such file or directory"):
        trust.connect()
    (tmp_path / "missing").write_text("nothing")
    with pytest.raises(BadInput, match="no certificates in PEM"):
        trust.connect()


def test_a_mistake_in_the_authorities_is_told_where_the_certificate_is_known_too(
    server4: Server4, tmp_path: Path
) -> None:
    with client_of(server4.address, tmp_path, fingerprint=server4.fingerprint) as client:
        client.register("alice")
    with (
        client_of(server4.address, tmp_path, ca_file=tmp_path / "missing") as client,
        pytest.raises(BadInput, match="No such file or directory"),
    ):
        client.whoami()


def test_pairs_are_of_the_servers_own(server4: Server4) -> None:
    pair = Pair(server4.data / "certificate.pem", server4.data / "certificate.key")
    assert pair.fingerprint == server4.fingerprint

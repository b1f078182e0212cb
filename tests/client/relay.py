"""Somebody in the middle who ends TLS on both sides, reads every message, and may alter it."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protocol.channel import ALPN, format_fingerprint
from protocol.decoder4 import FrameDecoder
from protocol.messages4 import REQUESTS, RESPONSES, pack_message
from protocol.records import Record

Message = Any
"""Any record: what may be replaced in it depends on which it is."""
Alter = Callable[[Message], Message]
"""What becomes of a message; None: it is swallowed, and so is the connection."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key in PEM files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        pem = self.certificate.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        return format_fingerprint(certificate.fingerprint(hashes.SHA256()))


@dataclass
class Relay:
    """What passed through a relay."""

    address: str
    seen: list[Record] = field(default_factory=list)


def self_signed(directory: Path, host: str = "127.0.0.1", *, days: int = 10) -> Pair:
    """A new pair that names this address, valid from yesterday on; it may be its own authority."""
    import ipaddress

    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pair = Pair(directory / "certificate.pem", directory / "key.pem")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    pair.key.chmod(0o600)
    return pair


def server_context(pair: Pair, alpn: str | None = ALPN) -> ssl.SSLContext:
    """As a server of protocol 4 has it, but for what is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


@contextmanager
def relaying(target: str, pair: Pair, alter: Alter = lambda message: message) -> Iterator[Relay]:
    """Passes messages on to the server at `target`, and shows clients this certificate."""
    outer = server_context(pair)
    inner = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    inner.check_hostname = False
    inner.verify_mode = ssl.CERT_NONE
    inner.set_alpn_protocols([ALPN])
    host, _, port = target.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        relay = Relay(f"127.0.0.1:{listening.getsockname()[1]}")

        workers: list[threading.Thread] = []

        def serve() -> None:
            while True:
                try:
                    near = listening.accept()[0]
                except OSError:
                    return
                workers.append(threading.Thread(target=pass_on, args=(near,), daemon=True))
                workers[-1].start()

        def pass_on(near: socket.socket) -> None:
            with near, contextlib.suppress(OSError, ssl.SSLError):
                near.settimeout(10)
                with (
                    outer.wrap_socket(near, server_side=True) as client,
                    inner.wrap_socket(socket.create_connection((host, int(port)))) as server,
                ):
                    _pass_on(relay, client, server, alter)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield relay
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
    for worker in (thread, *workers):
        worker.join(10)


def _pass_on(relay: Relay, client: ssl.SSLSocket, server: ssl.SSLSocket, alter: Alter) -> None:
    # One thread for both directions: OpenSSL's connections are not for two at once.
    decoders: dict[ssl.SSLSocket, FrameDecoder[Any]] = {
        client: FrameDecoder(REQUESTS),
        server: FrameDecoder(RESPONSES),
    }
    while True:
        ready = [end for end in decoders if end.pending()]
        for source in ready or select.select(decoders, (), ())[0]:
            sink = server if source is client else client
            size = source.recv_into(decoders[source].writable())
            if not size:
                return
            for request_id, message in decoders[source].written(size):
                relay.seen.append(message)
                altered = alter(message)
                if altered is None:
                    return
                sink.sendall(pack_message(altered, request_id))

"""Reaching the server that is meant, and no other (section 1 of docs/protocol-4.md).

Rules of this module: not a byte of protocol 4 leaves before the certificate has been decided on;
what a server was once known by is never replaced by anything weaker; there is nothing to fall back
to.
"""

import hashlib
import hmac
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from client.address import Address
from client.connection import connect_socket
from client.errors import (
    BadInput,
    ConnectionLost,
    ServerChanged,
    ServerCrowded,
    ServerFault,
    ServerSilent,
    UnknownServer,
    WrongFingerprint,
)
from client.known_servers import KnownServer, KnownServers
from protocol.channel import ALPN, format_fingerprint

_NO_PLACE = "ALERT_INTERNAL_ERROR"
"""What section 1 lets a server answer that is full, as OpenSSL calls it."""

AskUser = Callable[[str, str], bool]
"""Called with the server and its fingerprint, both as text: whether to trust it from now on."""


class TrustedServer(NamedTuple):
    """A connection to a server that is the one that is meant, with the fingerprint it showed."""

    tls: ssl.SSLSocket
    fingerprint: bytes


class Trust(NamedTuple):
    """How this client decides whether to trust the server at `address`.

    `fingerprint` is what the user says that it must be; `ca_file` replaces the system's certificate
    authorities; `ask` is asked about an unknown server, None where there is nobody to ask.
    """

    address: Address
    known: KnownServers
    timeout: float
    fingerprint: bytes | None = None
    ca_file: Path | None = None
    ask: AskUser | None = None

    def connect(self) -> TrustedServer:
        """Connects, and stores what is now known of the server.

        Raises `NotTrusted`, `ConnectionFailed`, `NoSuchHost`, `ServerFault`, `BadState`.
        """
        entry = self.known.find(self.address)
        if self.ca_file is not None:  # a mistake in it is told also where the certificate is known
            self._verifying_context()
        if entry is not None and entry.fingerprint is not None:
            server = self._pinned(entry.fingerprint)
            if self.fingerprint not in (None, entry.fingerprint):
                server.tls.close()
                raise WrongFingerprint(
                    f"{self.address} is the server that it was, {entry.shown_fingerprint}, and not"
                    " the one that --fingerprint names; nothing was sent. Correct the option, or"
                    " leave it out"
                )
            return server
        if self.fingerprint is not None:
            server = self._pinned(self.fingerprint)
            if entry is None:
                self.known.trust(self.address, self.fingerprint)
            return server
        try:
            server = self._open(self._verifying_context())
        except ssl.SSLCertVerificationError as error:
            presented = self.presented_fingerprint()
            if entry is not None:
                raise self._not_vouched_for(entry, presented, error.verify_message) from error
            return self._first_use(presented, error.verify_message)
        if entry is None:
            self.known.trust(self.address, None)
        return server

    def presented_fingerprint(self) -> bytes:
        """What the server shows at this moment, trusted or not; nothing is sent to it."""
        server = self._open(_unverifying_context())
        server.tls.close()
        return server.fingerprint

    def _first_use(self, presented: bytes, cause: str) -> TrustedServer:
        shown = format_fingerprint(presented)
        # A new connection, since a server does not wait for a person to make up his mind.
        if self.ask is None or not self.ask(str(self.address), shown):
            raise UnknownServer(
                f"{self.address} is unknown and no certificate authority vouches for it ({cause});"
                f" its fingerprint is {shown}: compare it with the one that the server's operator"
                f" tells, then say --fingerprint {shown}",
                shown,
            )
        server = self._pinned(presented)
        self.known.trust(self.address, presented)
        return server

    def _pinned(self, fingerprint: bytes) -> TrustedServer:
        # Neither chain nor dates count where the certificate itself is known: a wrong clock would
        # lock users out. The handshake proves that the server holds its key.
        server = self._open(_unverifying_context())
        if hmac.compare_digest(server.fingerprint, fingerprint):
            return server
        server.tls.close()
        entry = self.known.find(self.address)
        if entry is not None and entry.fingerprint == fingerprint:
            raise self._changed(entry.shown_fingerprint, server.fingerprint)
        raise WrongFingerprint(
            f"{self.address} has the fingerprint {format_fingerprint(server.fingerprint)} and not"
            f" {format_fingerprint(fingerprint)}; nothing was sent to it. Either the fingerprint"
            " was mistyped, or this is another server"
        )

    def _changed(self, known: str, presented: bytes) -> ServerChanged:
        shown = format_fingerprint(presented)
        return ServerChanged(
            f"{self.address} is not the server that it was: known is {known}, presented"
            f" is {shown}. Somebody may be between you and the server and read or alter"
            " everything; or its certificate was renewed. Nothing was sent. Ask the server's"
            " operator for the new fingerprint; only if it is the same, replace the stored one"
            " (trust command)",
            known,
            shown,
        )

    def _not_vouched_for(self, known: KnownServer, presented: bytes, cause: str) -> ServerChanged:
        # Most often somebody left out an option, who must not get used to alarms.
        shown = format_fingerprint(presented)
        authorities = "the system's" if self.ca_file is None else f"those in {str(self.ca_file)!r}"
        return ServerChanged(
            f"{self.address} is known as vouched for by a certificate authority, and now none of"
            f" {authorities} does ({cause}); its fingerprint is {shown}. Nothing was sent. Where"
            " --ca-file made it known, give --ca-file again; else ask the server's operator, since"
            " somebody may be between you and the server",
            known.shown_fingerprint,
            shown,
        )

    def _open(self, context: ssl.SSLContext) -> TrustedServer:
        plain = connect_socket(self.address, self.timeout)
        try:
            tls = context.wrap_socket(
                plain,
                server_hostname=self.address.resolvable,
                suppress_ragged_eofs=False,  # else a truncation would read as a clean end
                do_handshake_on_connect=False,
            )
        except BaseException:
            plain.close()
            raise
        try:
            _shake_hands(tls, self.address)
            certificate = tls.getpeercert(binary_form=True)
            if tls.version() != "TLSv1.3" or tls.selected_alpn_protocol() != ALPN:
                raise ServerFault(f"{self.address} speaks TLS but not protocol 4")
            if certificate is None:
                raise ServerFault(f"{self.address} shows no certificate")
        except BaseException:
            tls.close()
            raise
        return TrustedServer(tls, hashlib.sha256(certificate).digest())

    def _verifying_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:  # an SSLError is an OSError
            unread = None if isinstance(error, ssl.SSLError) else error.strerror
            cause = unread or "no certificates in PEM"
            raise BadInput(str(self.ca_file), cause, "name a file that holds some") from error
        return _protocol4(context)


def _unverifying_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _protocol4(context)


def _protocol4(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


def _shake_hands(tls: ssl.SSLSocket, address: Address) -> None:
    try:
        tls.do_handshake()
    except ssl.SSLCertVerificationError:
        raise
    except TimeoutError as error:
        raise ServerSilent(f"{address} did not answer in TLS") from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError) as error:
        raise ConnectionLost(
            f"{address} ended the connection in the TLS handshake: it may have no place for another"
            " one, or be stopping"
        ) from error
    except ssl.SSLError as error:
        if _NO_PLACE in (error.reason or ""):
            raise ServerCrowded(f"{address} has no place for another connection now") from error
        raise ServerFault(
            f"{address} does not speak TLS 1.3 with us ({error.reason or error}); is it a server of"
            " protocol 4?"
        ) from error
    except OSError as error:
        raise ConnectionLost(f"the connection was lost: {error.strerror or error}") from error

"""The server's certificate: what clients know it by."""

import hashlib
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protocol.channel import ALPN, format_fingerprint
from server.durability import write_private
from server.errors import ConfigurationError
from server.privatefiles import check_private

_VALID = timedelta(days=365 * 30)  # clients pin it: its end would only lock them out
_CLOCK_SLACK = timedelta(days=1)


class Certificate:
    """A certificate chain and its key, and the TLS settings that follow from them.

    The operator's files, or ones that are made on the first start: P-256, self-signed.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises `ConfigurationError` when the files are missing, unreadable or do not fit."""
        self._chain = chain
        self._key = key
        self._lock = threading.Lock()
        self.reload()

    @classmethod
    def own(cls, directory: Path) -> "Certificate":
        """The server's own one in `directory`, made there if it is missing."""
        chain, key = directory / "certificate.pem", directory / "certificate.key"
        try:
            if not chain.exists():
                _create(chain, key)
        except OSError as error:
            raise ConfigurationError(f"certificate {chain}: {error.strerror}") from error
        return cls(chain, key)

    def reload(self) -> None:
        """Reads the files anew; what is in use stays when they are unusable.

        Raises `ConfigurationError`.
        """
        try:
            check_private(self._key, self._key.stat(), str(self._key))
            certificate = x509.load_pem_x509_certificates(self._chain.read_bytes())[0]
            context = _context(self._chain, self._key)
        except OSError as error:  # ssl.SSLError is one: the key does not fit the certificate
            cause = error.strerror or str(error)
            raise ConfigurationError(f"certificate {self._chain}: {cause}") from error
        except ValueError as error:
            raise ConfigurationError(f"{self._chain} holds no certificate in PEM") from error
        encoded = certificate.public_bytes(serialization.Encoding.DER)
        with self._lock:
            self._current = (context, hashlib.sha256(encoded).digest())

    @property
    def current(self) -> tuple[ssl.SSLContext, bytes]:
        """The TLS settings and the SHA-256 fingerprint that belong together at this moment."""
        with self._lock:
            return self._current

    def __str__(self) -> str:
        return format_fingerprint(self.current[1])


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    context.num_tickets = 0  # a resumed session would skip the certificate that clients pin
    # Without a password a key that has one is refused; else it would be asked for, on a terminal.
    context.load_cert_chain(chain, key, password="")
    return context


def _create(chain: Path, key: Path) -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Encrypted File Transfer System")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    # The key first: a certificate without its key would look like a finished pair.
    write_private(
        key,
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    write_private(chain, certificate.public_bytes(serialization.Encoding.PEM))

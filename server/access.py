"""Who may register and who may connect over protocol 4 (sections 3.1 and 3.2).

Everything that fails here fails alike: unknown client, disabled client and wrong proof take the
same steps and get the same answer.
"""

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from protocol.contexts import SECRET_BYTES, challenge_context
from protocol.messages3 import PUBLIC_KEY_BYTES
from server.errors import AccessDenied, TooManyAttempts
from server.keys import new_client_id
from server.repository import Client, Repository, TokenRefused

RSA_BITS = 3072
_PUBLIC_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge that was sent: who must prove what. `client` is None for a decoy."""

    client: Client | None
    sealed: bytes
    proof: bytes
    secret: bytes


class Access:
    """Registration and challenges of one server."""

    def __init__(
        self, repository: Repository, registration: str, now: Callable[[], float] = time.time
    ) -> None:
        """`registration` is `open`, `token` or `closed`."""
        self._repository = repository
        self._registration = registration
        self._now = now
        self._decoy_seed = os.urandom(SECRET_BYTES)

    def register(self, name: str, token: str, public_key: bytes) -> bytes:
        """Registers a client with its key at once; its id, which a repetition gets again.

        Raises `AccessDenied`, `NameTaken`, `RepositoryError`.
        """
        _check_public_key(public_key)
        now = int(self._now())
        client = Client(
            id=new_client_id(), name=name, registered_at=now, last_seen=now, public_key=public_key
        )
        digest = None
        if self._registration == "closed":
            raise AccessDenied("registration is closed")
        if self._registration == "token":
            digest = hashlib.sha256(token.encode()).digest()
        try:
            return self._repository.add_client(client, digest)
        except TokenRefused as error:
            raise AccessDenied(str(error)) from error

    def challenge(self, client_id: bytes, fingerprint: bytes) -> Challenge:
        """A fresh secret for the client's key; a decoy for who may not connect.

        `fingerprint` is that of the certificate which this connection was shown.
        """
        client = self._repository.find_client(client_id)
        key = _decoy_key(self._decoy_seed, client_id)
        if client is not None and (own := _usable_key(client)):
            key = own
        else:
            client = None
        context = challenge_context(fingerprint, client_id)
        secret = os.urandom(SECRET_BYTES)
        sealed = _public_key(key).encrypt(secret, OAEP(MGF1(SHA256()), SHA256(), context))
        proof = hmac.digest(secret, context, "sha256")
        return Challenge(client, sealed, proof, secret)

    def check(self, challenge: Challenge, proof: bytes) -> Client:
        """The client that has proved itself; raises `AccessDenied`. Nothing is written, so that
        a client gets in and at its files also where the database's disk is full."""
        fits = hmac.compare_digest(challenge.proof, proof)
        if not fits or challenge.client is None:
            raise AccessDenied("the proof does not fit")
        # What happened since the challenge counts: a disabled client is out at once.
        client = self._repository.find_client(challenge.client.id)
        if client is None or client.disabled:
            raise AccessDenied("the client was removed or disabled in the meantime")
        return client


class Bans:
    """Addresses that failed to prove themselves too often are turned away for a while."""

    def __init__(
        self,
        attempts: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """After `attempts` failures within `seconds` an address waits until the oldest is past."""
        self._attempts = attempts
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, list[float]] = {}

    def check(self, address: str) -> None:
        """Raises `TooManyAttempts` while the address is banned."""
        with self._lock:
            recent = self._recent(address)
            if len(recent) >= self._attempts:
                left = recent[-self._attempts] + self._seconds - self._clock()
                raise TooManyAttempts(max(1, round(left)))

    def record(self, address: str) -> None:
        """Notes a failure."""
        with self._lock:
            self._failures[address] = [*self._recent(address), self._clock()]

    def expire(self) -> None:
        """Forgets what is past; called often enough by the server's loop."""
        with self._lock:
            for address in list(self._failures):
                if not self._recent(address):
                    del self._failures[address]

    def _recent(self, address: str) -> list[float]:
        oldest = self._clock() - self._seconds
        return [moment for moment in self._failures.get(address, ()) if moment > oldest]


def _usable_key(client: Client) -> bytes | None:
    """The key of a client that may connect. One that registered over protocol 3 may not: its key,
    of 1024 bits, fits the field of that protocol."""
    key = client.public_key
    if client.disabled or key is None or len(key) <= PUBLIC_KEY_BYTES:
        return None
    return key


def _check_public_key(der: bytes) -> None:
    try:
        key = _public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AccessDenied("the public key is not an RSA key in DER") from error
    if key.key_size != RSA_BITS or key.public_numbers().e != _PUBLIC_EXPONENT:
        raise AccessDenied(f"the key is not an RSA-{RSA_BITS} public key with exponent 65537")
    if _der(key) != der:
        raise AccessDenied("the public key is not plain SubjectPublicKeyInfo in DER")


def _public_key(der: bytes) -> RSAPublicKey:
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey):
        raise TypeError(f"a key of type {type(key).__name__}")
    return key


def _der(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _decoy_key(seed: bytes, client_id: bytes) -> bytes:
    """A key whose factors nobody knows, another one for each client id: many challenges for one id
    show roughly how large its modulus is, and one modulus for all would show what is a decoy."""
    number = int.from_bytes(hashlib.shake_256(seed + client_id).digest(RSA_BITS // 8), "big")
    modulus = number | 1 << (RSA_BITS - 1) | 1
    return _der(RSAPublicNumbers(_PUBLIC_EXPONENT, modulus).public_key())

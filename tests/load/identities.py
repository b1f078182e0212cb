"""Clients that are registered without a key of their own being made, which takes seconds."""

from functools import cache
from pathlib import Path

from Crypto.PublicKey import RSA

from client.address import Address
from client.identity4 import Identities, Identity4
from client.state import Places
from tests.peer4.client import Peer4
from tests.vectors.load import HERE

_PEM = HERE / "protocol4_client_key.pem"


@cache
def key() -> RSA.RsaKey:
    """The one key of all clients of the load runs."""
    return RSA.import_key(_PEM.read_text())


def peer(
    port: int, name: str, *, client_id: bytes | None = None, source: str = "127.0.0.1",
    timeout: float = 60.0,
) -> Peer4:  # fmt: skip
    """A lean client; without an id it is not registered yet."""
    return Peer4(port, name, key=key(), client_id=client_id, source=source, timeout=timeout)


def registered(port: int, name: str) -> bytes:
    """Registers a client; its id."""
    with peer(port, name) as client:
        return client.register()


def state(directory: Path, port: int, name: str) -> Path:
    """Registers a client and makes the state directory of the product's client for it."""
    identity = Identity4(name, registered(port, name), _PEM.read_bytes())
    places = Places.of(directory)
    places.identities.mkdir(parents=True)
    Identities(places.identities).complete(Address("127.0.0.1", port), identity)
    return directory

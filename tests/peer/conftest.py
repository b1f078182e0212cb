"""Fixtures of the peer's own tests."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import crypto


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    """One RSA key for all tests to which it does not matter, since making one takes its time."""
    return crypto.make_key()

"""Fixtures of the client's tests."""

import pytest

from client.sealing import make_private_key


@pytest.fixture(scope="session")
def private_key() -> bytes:
    """One RSA key for all tests to which it does not matter, since making one takes its time."""
    return make_private_key()


@pytest.fixture(scope="session")
def other_key() -> bytes:
    """A second one, for what must not be mixed up."""
    return make_private_key()

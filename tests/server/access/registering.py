"""Tokens, and clients that are refused."""

import hashlib
import secrets
import time

import pytest

from server.repository import Token
from tests.peer4 import wire
from tests.peer4.client import client_key
from tests.peer4.serving import Serving
from tests.peer4.wire import RefusedError


def add_token(server: Serving, name: str | None = None, seconds: int = 60) -> str:
    token = secrets.token_urlsafe(32)
    now = int(time.time())
    digest = hashlib.sha256(token.encode()).digest()
    server.repository.add_token(Token(digest, name, now + seconds, now))
    return token


def refused_registration(server: Serving, token: str, name: str = "alice") -> tuple[int, int, str]:
    with server.peer(name, key=client_key(1)) as peer:  # the same key would be the same client
        with pytest.raises(RefusedError) as caught:
            peer.register(token)
        refused = caught.value
        assert (refused.reason != wire.ACCESS_DENIED) or peer.at_end()
        return refused.reason, refused.retry_after, refused.text

"""Getting a session key: as the client that me.info says, or as a new one."""

from collections.abc import Callable
from typing import NamedTuple

from client.errors import ServerKeepsFailing
from client.identity import Identity, IdentityStore
from client.sealing import make_private_key, open_session_key, public_key_of
from client.session3 import Session3


class Introduction(NamedTuple):
    """Presents the identity in `store` on the connection of `session`.

    `key_bytes` is the length of this generation's AES keys; `step` is told what is being done.
    """

    session: Session3
    store: IdentityStore
    key_bytes: int
    step: Callable[[str], None]

    def session_key(self, name: str) -> bytes:
        """The AES key for this connection.

        Completes a registration that was cut off, else reconnects as the stored identity, else
        (there is none, or the server refuses it) registers `name` and stores the new identity.
        Raises what `Session3` and `IdentityStore` raise, and `BadSessionKey` when the server's key
        cannot be used; an identity that was complete is not changed then.
        """
        unfinished = self._unfinished()
        if unfinished is not None:
            session_key = self._complete(unfinished)
            if session_key is not None:
                return session_key
        session_key = self._reconnect()
        if session_key is not None:
            return session_key
        return self._register(name, unfinished)

    def _unfinished(self) -> Identity | None:
        unfinished = self.store.load_unfinished()
        if unfinished is not None:
            return unfinished
        known = self.store.load()
        if known is not None and known.private_key is None:
            return self.store.begin(known.name, known.client_id, make_private_key())
        return None

    def _complete(self, unfinished: Identity) -> bytes | None:
        """As a client that the server has registered, but whose key it may not have."""
        self.step(f"completing the registration of {unfinished.name!r}")
        wrapped_key = self.session.reconnect(unfinished.client_id, unfinished.name)
        if wrapped_key is None:
            try:
                wrapped_key = self._offer_key(unfinished)
            except ServerKeepsFailing:
                return None  # the server has forgotten this registration: a new one is in order
        return self._accepted(unfinished, wrapped_key)

    def _reconnect(self) -> bytes | None:
        known = self.store.load()
        if known is None or known.private_key is None:
            return None
        self.step(f"reconnecting as {known.name!r}")
        wrapped_key = self.session.reconnect(known.client_id, known.name)
        if wrapped_key is None:
            self.step("the server refused")
            return None
        return open_session_key(known.private_key, wrapped_key, self.key_bytes)

    def _register(self, name: str, unfinished: Identity | None) -> bytes:
        self.step(f"registering {name!r}")
        self.store.check_writable()
        # A key on disk is used again: writing another one over it would destroy it.
        private_key = make_private_key() if unfinished is None else unfinished.usable_key
        registered = self.store.begin(name, self.session.register(name), private_key)
        return self._accepted(registered, self._offer_key(registered))

    def _offer_key(self, identity: Identity) -> bytes:
        public_key = public_key_of(identity.usable_key)
        return self.session.send_public_key(identity.client_id, identity.name, public_key)

    def _accepted(self, identity: Identity, wrapped_key: bytes) -> bytes:
        session_key = open_session_key(identity.usable_key, wrapped_key, self.key_bytes)
        self.store.complete(identity)
        return session_key

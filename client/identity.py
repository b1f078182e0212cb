"""Who this client is: me.info and priv.key, and the registration that is still under way.

A new registration is written to me.info.new first and takes the place of me.info and priv.key
only when the server has accepted its public key. Whatever stops the run in between, the next run
finds either the old identity or one that it can complete.
"""

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from client.errors import BadIdentity, NotWritten
from client.private_files import is_open, keep_as_old, sync_directory, write_private
from client.sealing import check_private_key
from protocol.errors import UnsafeName
from protocol.header import CLIENT_ID_BYTES
from protocol.names import check_client_name

ME_INFO = "me.info"
ME_INFO_NEW = "me.info.new"
PRIV_KEY = "priv.key"

_MAX_IDENTITY_BYTES = 1 << 16
_CLIENT_ID = re.compile(rf"[0-9a-fA-F]{{{2 * CLIENT_ID_BYTES}}}")
_REMEDY = "restore it from a copy, or move it away to register as a new client"


class Identity(NamedTuple):
    """A name, the 16-byte id the server gave, and the private key as PKCS#8 DER.

    Without a private key it is a registration that was cut off. `origin` is the file it is from.
    """

    name: str
    client_id: bytes
    private_key: bytes | None
    origin: str = ME_INFO

    def __repr__(self) -> str:
        # Without the key, which is not to get into logs.
        return f"Identity({self.name!r}, {self.client_id!r}, {self.origin!r})"

    @property
    def usable_key(self) -> bytes:
        """The private key; raises `BadIdentity` when there is none."""
        if self.private_key is None:
            raise BadIdentity(self.origin, "the private key is missing", _REMEDY)
        return self.private_key


class IdentityStore:
    """The identity files of one directory.

    Reading raises `BadIdentity` when a file is there and unusable, writing `NotWritten`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self) -> Identity | None:
        """The identity of me.info, or None when there is no me.info.

        The key is that of its third line; only where that is missing, the key of priv.key.
        """
        identity = self._load_info(ME_INFO)
        if identity is None or identity.private_key is not None:
            return identity
        text = self._read(PRIV_KEY)
        if text is None:
            return identity
        return Identity(identity.name, identity.client_id, _private_key(text, PRIV_KEY))

    def load_unfinished(self) -> Identity | None:
        """The registration that `begin` has written and `complete` has not seen through."""
        return self._load_info(ME_INFO_NEW)

    def open_to_others(self) -> tuple[Path, ...]:
        """The files with a private key that others than their owner may read.

        They are no error: existing clients of the protocol make them so.
        """
        found = []
        for path in (self._directory / name for name in (ME_INFO, ME_INFO_NEW, PRIV_KEY)):
            with suppress(OSError):  # most often: it is not there
                if is_open(path.stat()):
                    found.append(path)
        return tuple(found)

    def check_writable(self) -> None:
        """Raises `NotWritten` when an identity could not be stored: to be asked before a name is
        spent on a registration that would be lost."""
        with _writing(self._directory), tempfile.TemporaryFile(dir=self._directory):
            pass

    def begin(self, name: str, client_id: bytes, private_key: bytes) -> Identity:
        """Stores a registration whose public key the server has not confirmed yet."""
        key_line = base64.b64encode(private_key).decode()
        text = f"{name}\n{client_id.hex()}\n{key_line}\n"
        with _writing(self._directory):
            write_private(self._directory / ME_INFO_NEW, text.encode())
        return Identity(name, client_id, private_key, ME_INFO_NEW)

    def complete(self, identity: Identity) -> None:
        """Makes the unfinished registration the identity of this directory.

        An earlier me.info and priv.key are kept as me.info.old and priv.key.old (or .old.2, ...).
        """
        me_info, priv_key = self._directory / ME_INFO, self._directory / PRIV_KEY
        key_line = base64.b64encode(identity.usable_key) + b"\n"
        with _writing(self._directory):
            keep_as_old((me_info, priv_key))
            # priv.key first: until me.info is replaced, me.info.new says that this is unfinished.
            write_private(priv_key, key_line)
            (self._directory / ME_INFO_NEW).replace(me_info)
            sync_directory(self._directory)

    def _load_info(self, file_name: str) -> Identity | None:
        text = self._read(file_name)
        if text is None:
            return None
        lines = [line.strip() for line in text.splitlines()]
        name, client_id = (*lines, "", "")[:2]
        try:
            check_client_name(name)
        except UnsafeName as error:
            raise BadIdentity(f"{file_name}, line 1", str(error), _REMEDY) from error
        if not _CLIENT_ID.fullmatch(client_id):
            raise BadIdentity(f"{file_name}, line 2", "not an id of 32 hex digits", _REMEDY)
        key_text = "".join(lines[2:])
        private_key = _private_key(key_text, f"{file_name}, line 3") if key_text else None
        return Identity(name, bytes.fromhex(client_id), private_key, file_name)

    def _read(self, file_name: str) -> str | None:
        try:
            with (self._directory / file_name).open("rb") as file:
                data = file.read(_MAX_IDENTITY_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            cause = error.strerror or "unreadable"
            raise BadIdentity(file_name, cause, "make it readable") from error
        if len(data) > _MAX_IDENTITY_BYTES:
            raise BadIdentity(file_name, f"larger than {_MAX_IDENTITY_BYTES} bytes", _REMEDY)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadIdentity(file_name, "not UTF-8 text", _REMEDY) from error


def _private_key(text: str, origin: str) -> bytes:
    try:
        private_key = base64.b64decode("".join(text.split()), validate=True)
        check_private_key(private_key)
    except (binascii.Error, ValueError):
        # Without the cause and its text: they may quote the key.
        raise BadIdentity(origin, "not a private RSA key in base64", _REMEDY) from None
    return private_key


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(
            f"the identity cannot be stored in {str(directory)!r}: {error.strerror or error}"
        ) from error

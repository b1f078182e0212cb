"""What the server remembers, one frozen record for each kind.

Ids are 16 bytes, sizes are in bytes, names are text that stands for its UTF-8 (with
`surrogateescape`), times are whole seconds since 1970 UTC unless said otherwise.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from protocol.messages4 import Policy


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client. `public_key` is DER as the client sent it, None until it has;
    `wrapped_aes_key` is the newest AES key under the server's key file (RFC 3394), None with
    protocol 4; a `disabled` client keeps its files and is not let in."""

    id: bytes
    name: str
    registered_at: int
    last_seen: int
    public_key: bytes | None = None
    wrapped_aes_key: bytes | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """Leave to register once, until `expires_at`. `digest` is SHA-256 (32 bytes) of the token,
    which is not kept; `name` is the only client name that it is good for, None for any."""

    digest: bytes
    name: str | None
    expires_at: int
    created_at: int


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A verified file. `object_id` is chosen by the server and names the object that holds the
    bytes. `cksum` is the POSIX checksum, None with protocol 4. Protocol 4 alone knows `sha256` of
    the content, `modified` in nanoseconds since 1970 UTC and `mode`, the permission bits."""

    client_id: bytes
    name: str
    object_id: bytes
    size: int
    cksum: int | None
    received_at: int
    sha256: bytes | None = None
    modified: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What some files or uploads of one client add up to."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload of protocol 4, under an `upload_id` that its client chose. It is pending, its bytes
    staged under `object_id`, until `receipt` is there: the body and signature of the answer.
    `size` is None until the client knows it; `modified` and `mode` as in `StoredFile`."""

    client_id: bytes
    upload_id: bytes
    object_id: bytes
    name: str
    size: int | None
    modified: int
    mode: int
    policy: Policy
    begun_at: int
    receipt: bytes | None = None


class Action(StrEnum):
    """What the audit trail tells of."""

    REGISTER = "register"
    CONNECT = "connect"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    REMOVE = "remove"
    RENAME = "rename"
    TOKEN_CREATED = "token created"  # noqa: S105 - no password
    TOKEN_REVOKED = "token revoked"  # noqa: S105
    CLIENT_DISABLED = "client disabled"
    CLIENT_ENABLED = "client enabled"
    CLIENT_REMOVED = "client removed"
    RESTORED = "restored"
    TRAIL_SHORTENED = "trail shortened"


DONE = "ok"
"""The outcome of what succeeded; of anything else it is the name of the error."""


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the audit trail: what was tried, what came of it, by whom, from where.

    `client` is the name as it was then, None where nobody has proved to be a client; `operator` is
    the account of who gave a command on the server's machine, where `address` is empty. `subjects`
    are the names of the files, the old one in a renaming to `target`, or the beginning of a token's
    digest, none of which has a line end in it; `size` is in bytes, of all files together. `at` is
    in microseconds since 1970 UTC; `id`, 16 random bytes, makes an event that is recorded twice
    one entry."""

    action: Action
    outcome: str = DONE
    client_id: bytes | None = None
    client: str | None = None
    address: str = ""
    operator: str = ""
    subjects: tuple[str, ...] = ()
    target: str | None = None
    size: int | None = None
    at: int = field(default_factory=lambda: time.time_ns() // 1000)
    id: bytes = field(default_factory=lambda: os.urandom(16))


@dataclass(frozen=True, slots=True)
class Publication:
    """A durable object that asks for its name. Protocol 4 gives the client's `upload_id`."""

    file: StoredFile
    upload_id: bytes | None = None
    policy: Policy = Policy.ALWAYS


Sign = Callable[[Sequence[Publication]], Sequence[bytes]]
"""Makes the receipts of publications of protocol 4 that are about to be committed, in their order:
what was refused, or completed before, must never be signed. It must not fail, and may be called
again for another attempt at the transaction."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication. `superseded` is the object whose bytes are to be removed: the
    one that was replaced or, when the upload was completed before by another object or ours was
    replaced already, the object published itself. `refused` means that the policy forbade it.
    `receipt` is the one that stands for the upload, which may be an earlier attempt's."""

    superseded: bytes | None
    refused: bool = False
    receipt: bytes | None = None


class Renaming(Enum):
    """How a renaming ended."""

    DONE = auto()
    NOT_FOUND = auto()
    EXISTS = auto()


@dataclass(frozen=True, slots=True)
class Renamed:
    """How a renaming ended; `superseded` is the object of the file that it replaced."""

    outcome: Renaming
    superseded: bytes | None = None

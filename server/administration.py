"""What operators change: tokens for registration, and clients shut out, let in or removed.

All of it is one transaction in the database each, so that it may be done while the server runs,
and an entry in the audit trail, made before the answer is printed: that may fail.
"""

import hashlib
import json
import os
import pwd
import re
import secrets
import time
from collections.abc import Callable
from contextlib import closing

from protocol.errors import UnsafeName
from protocol.names import check_client_name
from server.config import Config
from server.errors import ConfigurationError
from server.inspection import MICROSECONDS, Printer, find_client, format_time, unknown_client
from server.repository import Action, Event, Repository, RepositoryError, Token

_TOKEN_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{1,64}")
_SHOWN_DIGITS = 16  # of a digest: enough to tell any two tokens apart


def show_fingerprint(config: Config, show: Printer) -> None:
    """Prints the fingerprint of the certificate that the server presents.

    The server's own one is made where it is missing, in a data directory that exists. Raises
    `ConfigurationError`.
    """
    from server.serving import open_certificate  # brings all of the server with it
    from server.storage import DirectoryStorage

    if config.certificate is None and not (config.data / "certificate.pem").exists():
        if not config.data.is_dir():
            raise ConfigurationError(
                f"there is no data directory {config.data}: start the server or give its --data"
            )
        # The lock keeps a server that starts at this moment from making another one.
        with closing(DirectoryStorage(config.data)):
            show(str(open_certificate(config)))
    else:
        show(str(open_certificate(config)))


def create_token(
    repository: Repository,
    show: Printer,
    *,
    name: str | None,
    seconds: int,
    max_name_bytes: int,
    now: Callable[[], float] = time.time,
) -> None:
    """Prints a new token that is good for one registration within so many seconds.

    Only its SHA-256 is kept. Raises `ConfigurationError` when no client can have this name, and
    passes on the `OSError` of `show` once the token, which nobody has seen, is removed again, or
    with the digest of one that could not be.
    """
    if name is not None:
        _check_name(repository, name, max_name_bytes)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    digest = hashlib.sha256(token.encode()).digest()
    created = int(now())
    repository.add_token(Token(digest, name, created + seconds, created))
    shown = digest.hex()[:_SHOWN_DIGITS]
    _record(repository, Action.TOKEN_CREATED, client=name, subjects=(shown,))
    try:
        # Not before it is good: whoever reads it may use it at once.
        show(token)
    except OSError as error:
        cause = f"{error.strerror}; {_taken_back(repository, digest)}"
        raise OSError(error.errno, cause) from error


def _taken_back(repository: Repository, digest: bytes) -> str:
    """Removes a token that could not be printed, and says what came of it."""
    shown = digest.hex()[:_SHOWN_DIGITS]
    try:
        removed = repository.remove_token(digest)
    except RepositoryError as error:
        return f"the token {shown} could not be removed: revoke it ({error})"
    if not removed:  # a part of what was printed may have been all of the token
        return f"the token {shown} was used or revoked in the meantime"
    _record(repository, Action.TOKEN_REVOKED, subjects=(shown,))
    return "the token was removed again"


def _record(
    repository: Repository,
    action: Action,
    *,
    client_id: bytes | None = None,
    client: str | None = None,
    subjects: tuple[str, ...] = (),
    size: int | None = None,
) -> None:
    event = Event(
        action,
        operator=account(),
        client_id=client_id,
        client=client,
        subjects=subjects,
        size=size,
    )
    repository.record([event])


def account() -> str:
    """Who gives the command, behind sudo too."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name  # not LOGNAME, which says what one likes
    except KeyError:  # an account without a name, as in containers
        user = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{behind} as {user}" if behind and behind != user else user


def _check_name(repository: Repository, name: str, max_name_bytes: int) -> None:
    try:
        check_client_name(name)
    except UnsafeName as error:
        raise ConfigurationError(f"no client can register: {error}") from error
    if len(name.encode()) > max_name_bytes:
        raise ConfigurationError(
            f"no client can register: the name {name!r} is longer than {max_name_bytes} bytes"
        )
    if repository.find_client_by_name(name) is not None:
        raise ConfigurationError(f"a client named {name!r} is registered already")


def list_tokens(
    repository: Repository,
    show: Printer,
    *,
    as_json: bool,
    now: Callable[[], float] = time.time,
) -> None:
    """Prints each token that is not used up: the beginning of its digest, expiry, client name."""
    for token in repository.tokens():
        expired = token.expires_at <= now()
        digest = token.digest.hex()
        if as_json:
            show(
                json.dumps(
                    {
                        "digest": digest,
                        "name": token.name,
                        "created_at": token.created_at,
                        "expires_at": token.expires_at,
                        "expired": expired,
                    }
                )
            )
        else:
            state = "expired" if expired else "expires"
            name = "for any name" if token.name is None else f"for {token.name}"
            show(f"{digest[:_SHOWN_DIGITS]}  {state} {format_time(token.expires_at)}  {name}")


def revoke_token(repository: Repository, show: Printer, prefix: str) -> None:
    """Removes the one token whose digest begins so; raises `ConfigurationError`."""
    wanted = prefix.lower()
    if not _DIGEST.fullmatch(wanted):
        raise ConfigurationError(f"{prefix!r} is no beginning of a digest: see `token list`")
    found = [token.digest for token in repository.tokens() if token.digest.hex().startswith(wanted)]
    if len(found) > 1:
        raise ConfigurationError(f"{len(found)} digests begin with {prefix}: give more digits")
    if not found or not repository.remove_token(found[0]):
        raise ConfigurationError(f"no digest begins with {prefix}: see `token list`")
    shown = found[0].hex()[:_SHOWN_DIGITS]
    _record(repository, Action.TOKEN_REVOKED, subjects=(shown,))
    show(f"revoked {shown}")


def set_disabled(repository: Repository, show: Printer, name_or_id: str, *, disabled: bool) -> None:
    """Shuts a client out, from its next proof on, or lets it in again."""
    client = find_client(repository, name_or_id)
    if not repository.set_disabled(client.id, disabled):
        raise unknown_client(name_or_id)
    action = Action.CLIENT_DISABLED if disabled else Action.CLIENT_ENABLED
    _record(repository, action, client_id=client.id, client=client.name)
    show(f"{'disabled' if disabled else 'enabled'} {client.name}")


def remove_client(
    repository: Repository, show: Printer, name_or_id: str, confirm: Callable[[str], bool]
) -> int:
    """Removes a client and its files, if `confirm` agrees; the exit status.

    The bytes are left to the server (`Receiver.sweep`), which may be reading them.
    """
    client = find_client(repository, name_or_id)
    usage = repository.usage(client.id)
    if not confirm(
        f"remove client {client.name!r} and its {usage.files} files ({usage.size} bytes)?"
    ):
        show("nothing was removed")
        return 1
    if repository.remove_client(client.id) is None:
        raise unknown_client(name_or_id)
    _record(
        repository, Action.CLIENT_REMOVED, client_id=client.id, client=client.name, size=usage.size
    )
    show(f"removed {client.name} and {usage.files} files")
    return 0


def shorten_trail(repository: Repository, show: Printer, before: int) -> None:
    """Removes what of the audit trail is older (seconds since 1970 UTC), and says so in it.

    Raises `ConfigurationError` for a moment to come, which is a mistake that would remove all.
    """
    if before > time.time():
        raise ConfigurationError(
            f"{format_time(before)} is yet to come: name a moment that is past, such as 365d"
        )
    forgotten = repository.forget_events(before * MICROSECONDS)
    told = f"{forgotten} before {format_time(before)}"
    _record(repository, Action.TRAIL_SHORTENED, subjects=(told,))
    show(f"removed {forgotten} events from before {format_time(before)}")

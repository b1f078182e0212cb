"""Files that hold a secret: who else may read them."""

import os
import shlex
from pathlib import Path

from server.errors import ConfigurationError

_OTHERS = 0o077
_OTHERS_BUT_ITS_GROUP = 0o007


def check_private(path: Path, status: os.stat_result, what: str) -> None:
    """Raises `ConfigurationError` when others than the server may use the file of this status.

    A file of another account, such as root's, may be open to its group, which is how an
    administrator hands a secret to the server's account; `what` begins the error.
    """
    if status.st_uid == os.geteuid():
        forbidden, remedy = _OTHERS, "chmod 600"
    else:
        forbidden, remedy = _OTHERS_BUT_ITS_GROUP, "chmod o="
    if status.st_mode & forbidden:
        raise ConfigurationError(f"{what} is open to others: {remedy} {shlex.quote(str(path))}")

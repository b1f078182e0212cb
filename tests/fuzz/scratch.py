"""A directory for targets that read files: in memory where there is such a place."""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")


@cache
def directory(name: str) -> Path:
    """An empty directory of this process, which is removed when it ends."""
    usable = _IN_MEMORY.is_dir() and os.access(_IN_MEMORY, os.W_OK)
    made = Path(tempfile.mkdtemp(prefix=f"eft-fuzz-{name}-", dir=_IN_MEMORY if usable else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made

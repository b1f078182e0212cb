"""Making names durable: a rename survives a power cut only once its directory is synced."""

import os
from pathlib import Path


def make_directory(path: Path) -> None:
    """Makes a directory (0700) and those above it that are missing, each durable in its parent."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Writes a directory's entries to the disk; raises `OSError` when that fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where the bytes of files live."""

from server.storage.directory import RESTORE_MARK, DirectoryStorage, object_path
from server.storage.reading import pass_over_page_cache, read_fully
from server.storage.staged import StagedFile

__all__ = [
    "RESTORE_MARK",
    "DirectoryStorage",
    "StagedFile",
    "object_path",
    "pass_over_page_cache",
    "read_fully",
]

"""Where the bytes of files live."""

from server.storage.directory import DirectoryStorage, object_path, read_fully
from server.storage.staged import StagedFile

__all__ = ["DirectoryStorage", "StagedFile", "object_path", "read_fully"]

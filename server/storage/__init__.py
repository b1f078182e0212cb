"""Where the bytes of files live."""

from server.storage.directory import DirectoryStorage, StagedFile, object_path, read_fully

__all__ = ["DirectoryStorage", "StagedFile", "object_path", "read_fully"]

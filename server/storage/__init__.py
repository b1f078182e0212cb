"""Where the bytes of files live."""

from server.storage.directory import DirectoryStorage, StagedFile, object_path

__all__ = ["DirectoryStorage", "StagedFile", "object_path"]

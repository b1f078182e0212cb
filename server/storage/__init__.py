"""Where the bytes of files live."""

from server.storage.directory import DirectoryStorage, StagedFile

__all__ = ["DirectoryStorage", "StagedFile"]

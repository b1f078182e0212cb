"""Persistence of clients and files: one interface, on SQLite or MySQL/MariaDB."""

from server.repository.errors import (
    NameTaken,
    RepositoryError,
    RepositoryUnavailable,
    SchemaTooNew,
    UnknownClient,
)
from server.repository.interface import Client, Repository, StoredFile, Usage
from server.repository.location import open_repository

__all__ = [
    "Client",
    "NameTaken",
    "Repository",
    "RepositoryError",
    "RepositoryUnavailable",
    "SchemaTooNew",
    "StoredFile",
    "UnknownClient",
    "Usage",
    "open_repository",
]

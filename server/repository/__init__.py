"""Persistence of clients, files and uploads: one interface, on SQLite or MySQL/MariaDB."""

from server.repository.errors import (
    NameTaken,
    RepositoryError,
    RepositoryUnavailable,
    SchemaTooNew,
    TokenRefused,
    UnknownClient,
)
from server.repository.interface import Repository
from server.repository.location import open_repository
from server.repository.records import (
    Client,
    Publication,
    Published,
    Renamed,
    Renaming,
    Sign,
    StoredFile,
    Token,
    Upload,
    Usage,
)

__all__ = [
    "Client",
    "NameTaken",
    "Publication",
    "Published",
    "Renamed",
    "Renaming",
    "Repository",
    "RepositoryError",
    "RepositoryUnavailable",
    "SchemaTooNew",
    "Sign",
    "StoredFile",
    "Token",
    "TokenRefused",
    "UnknownClient",
    "Upload",
    "Usage",
    "open_repository",
]

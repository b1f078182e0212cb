"""Persistence of clients, files, uploads and the audit trail: one interface, on SQLite or MySQL."""

from server.repository.errors import (
    DatabaseFull,
    DatabaseInUse,
    NameTaken,
    NotEmpty,
    RepositoryError,
    RepositoryUnavailable,
    SchemaTooNew,
    SchemaTooOld,
    TokenRefused,
    UnknownClient,
)
from server.repository.interface import Repository
from server.repository.location import open_repository
from server.repository.records import (
    DONE,
    Action,
    Client,
    Event,
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
    "DONE",
    "Action",
    "Client",
    "DatabaseFull",
    "DatabaseInUse",
    "Event",
    "NameTaken",
    "NotEmpty",
    "Publication",
    "Published",
    "Renamed",
    "Renaming",
    "Repository",
    "RepositoryError",
    "RepositoryUnavailable",
    "SchemaTooNew",
    "SchemaTooOld",
    "Sign",
    "StoredFile",
    "Token",
    "TokenRefused",
    "UnknownClient",
    "Upload",
    "Usage",
    "open_repository",
]

"""The schema, as numbered steps that bring any older database to the newest version.

A step, once released, is never edited: a new one is added. MySQL commits after every statement of
a definition, so each statement must be harmless when a crash makes it run again.
"""

from dataclasses import dataclass

from server.repository.errors import SchemaTooNew
from server.repository.statements import Dialect, Transaction


@dataclass(frozen=True, slots=True)
class Migration:
    """One step to `version`; the braces in its statements are filled from `Dialect.types`."""

    version: int
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        version=1,
        statements=(
            """CREATE TABLE IF NOT EXISTS clients (
                id {id} NOT NULL PRIMARY KEY,
                name {name} NOT NULL UNIQUE CHECK (length(name) <= 255),
                public_key {key},
                last_seen BIGINT NOT NULL,
                aes_key {key},
                registered_at BIGINT NOT NULL
            ) {table}""",
            """CREATE TABLE IF NOT EXISTS files (
                client_id {id} NOT NULL,
                file_name {name} NOT NULL CHECK (length(file_name) <= 255),
                path_name {path} NOT NULL,
                verified BOOLEAN NOT NULL,
                size BIGINT NOT NULL,
                cksum BIGINT NOT NULL,
                received_at BIGINT NOT NULL,
                upload_id {id} NOT NULL UNIQUE,
                PRIMARY KEY (client_id, file_name),
                FOREIGN KEY (client_id) REFERENCES clients (id)
            ) {table}""",
            """CREATE TABLE IF NOT EXISTS superseded (
                upload_id {id} NOT NULL PRIMARY KEY,
                client_id {id} NOT NULL
            ) {table}""",
        ),
    ),
)

NEWEST_VERSION = MIGRATIONS[-1].version

_VERSIONS = "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY) {table}"


def migrate(transaction: Transaction, dialect: Dialect) -> None:
    """Applies the missing migrations. The caller holds a lock against every other process and
    commits afterwards.

    Raises `SchemaTooNew` when a newer server has been here."""
    version = _version(transaction, dialect)
    if version > NEWEST_VERSION:
        raise SchemaTooNew(
            f"the database has schema version {version} and this server knows versions up to "
            f"{NEWEST_VERSION}: start the newer server or restore a backup made before it"
        )
    for migration in MIGRATIONS[version:]:
        for statement in (_VERSIONS, *migration.statements):
            transaction.change(statement.format_map(dialect.types))
        transaction.change("INSERT INTO schema_version (version) VALUES (?)", migration.version)


def _version(transaction: Transaction, dialect: Dialect) -> int:
    # Looked for before it is made, so that a database account without the right to create tables
    # can run the server once the schema stands.
    ((tables,),) = transaction.rows(dialect.table_exists, "schema_version")
    if not tables:
        return 0
    ((version,),) = transaction.rows("SELECT MAX(version) FROM schema_version")
    return int(version or 0)

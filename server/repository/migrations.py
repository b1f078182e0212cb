"""The schema, as numbered steps that bring any older database to the newest version.

A step, once released, is never edited: a new one is added. MySQL commits after every statement of
a definition, so each statement must be harmless when a crash makes it run again, or be a
`Step` that looks first.
"""

from dataclasses import dataclass

from server.repository.errors import SchemaTooNew, SchemaTooOld
from server.repository.transactions import Dialect, Transaction


@dataclass(frozen=True, slots=True)
class Column:
    """A column, where its table may be missing."""

    table: str
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """A statement for databases with one column or without another."""

    sql: str
    present: Column | None = None
    absent: Column | None = None


@dataclass(frozen=True, slots=True)
class Migration:
    """The steps to `version`; the braces in their statements are filled from `Dialect.types`."""

    version: int
    statements: tuple[str | Step, ...]


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
    Migration(
        version=2,
        statements=(
            Step(
                "ALTER TABLE clients ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT 0",
                absent=Column("clients", "disabled"),
            ),
            Step(
                "ALTER TABLE superseded RENAME COLUMN upload_id TO object_id",
                present=Column("superseded", "upload_id"),
            ),
            # SQLite cannot alter a column, so the table is made anew. The old one goes aside before
            # it is copied: a server of the version before that still runs loses its table, not
            # a file that it acknowledged after the copy was made.
            Step(
                "ALTER TABLE files RENAME TO files_1",
                present=Column("files", "upload_id"),
            ),
            """CREATE TABLE IF NOT EXISTS files (
                client_id {id} NOT NULL,
                file_name {file_name} NOT NULL CHECK (length(file_name) <= 1024),
                object_id {id} NOT NULL UNIQUE,
                path_name {path} NOT NULL,
                verified BOOLEAN NOT NULL,
                size BIGINT NOT NULL,
                cksum BIGINT,
                received_at BIGINT NOT NULL,
                sha256 {digest},
                modified BIGINT,
                mode INT,
                PRIMARY KEY (client_id, file_name),
                FOREIGN KEY (client_id) REFERENCES clients (id)
            ) {table}""",
            Step(
                """INSERT INTO files (client_id, file_name, object_id, path_name, verified, size,
                    cksum, received_at)
                SELECT client_id, file_name, upload_id, path_name, verified, size, cksum,
                    received_at
                FROM files_1 WHERE upload_id NOT IN (SELECT object_id FROM files)""",
                present=Column("files_1", "upload_id"),
            ),
            "DROP TABLE IF EXISTS files_1",
            """CREATE TABLE IF NOT EXISTS tokens (
                digest {digest} NOT NULL PRIMARY KEY,
                name {name},
                expires_at BIGINT NOT NULL,
                created_at BIGINT NOT NULL
            ) {table}""",
            # The second key is an index: SQLite has no other inside of a table's definition, and
            # MySQL cannot repeat the definition of one outside.
            """CREATE TABLE IF NOT EXISTS uploads (
                client_id {id} NOT NULL,
                upload_id {id} NOT NULL,
                object_id {id} NOT NULL,
                file_name {file_name} NOT NULL CHECK (length(file_name) <= 1024),
                size BIGINT,
                modified BIGINT,
                mode INT,
                policy INT NOT NULL,
                begun_at BIGINT NOT NULL,
                received_at BIGINT,
                receipt {key},
                PRIMARY KEY (client_id, upload_id),
                UNIQUE (received_at, client_id, upload_id),
                FOREIGN KEY (client_id) REFERENCES clients (id)
            ) {table}""",
        ),
    ),
    Migration(
        version=3,
        statements=(
            # In the order of time, so that what is appended lies at the end.
            """CREATE TABLE IF NOT EXISTS audit (
                at BIGINT NOT NULL,
                id {id} NOT NULL,
                action {word} NOT NULL,
                outcome {word} NOT NULL,
                client_id {id},
                client_name {name},
                address {word} NOT NULL,
                operator {word} NOT NULL,
                subjects {names},
                target {file_name},
                size BIGINT,
                PRIMARY KEY (at, id)
            ) {table}""",
        ),
    ),
    Migration(
        version=4,
        statements=(
            """CREATE TABLE IF NOT EXISTS data_directory (
                place INT NOT NULL PRIMARY KEY CHECK (place = 1),
                id {id} NOT NULL
            ) {table}""",
        ),
    ),
    Migration(
        version=5,
        statements=(
            Step(
                "ALTER TABLE data_directory ADD COLUMN starts BIGINT NOT NULL DEFAULT 0",
                absent=Column("data_directory", "starts"),
            ),
            Step(
                "ALTER TABLE data_directory ADD COLUMN used_by {id}",
                absent=Column("data_directory", "used_by"),
            ),
        ),
    ),
)

NEWEST_VERSION = MIGRATIONS[-1].version

_VERSIONS = "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY) {table}"


def migrate(transaction: Transaction, dialect: Dialect) -> None:
    """Applies the missing migrations. The caller holds a lock against every other process and
    commits afterwards.

    Raises `SchemaTooNew` when a newer server has been here."""
    for migration in MIGRATIONS[_known_version(transaction, dialect) :]:
        for statement in (_VERSIONS, *migration.statements):
            step = Step(statement) if isinstance(statement, str) else statement
            if _applies(transaction, dialect, step):
                transaction.change(step.sql.format_map(dialect.types))
        transaction.change("INSERT INTO schema_version (version) VALUES (?)", migration.version)


def require_newest(transaction: Transaction, dialect: Dialect) -> None:
    """Changes nothing; raises `SchemaTooNew`, or `SchemaTooOld` where `migrate` has work to do."""
    version = _known_version(transaction, dialect)
    if version < NEWEST_VERSION:
        raise SchemaTooOld(
            f"the database has schema version {version}, this program needs {NEWEST_VERSION}"
        )


def _applies(transaction: Transaction, dialect: Dialect, step: Step) -> bool:
    def exists(column: Column) -> bool:
        ((columns,),) = transaction.rows(dialect.column_exists, column.table, column.name)
        return bool(columns)

    return (step.present is None or exists(step.present)) and (
        step.absent is None or not exists(step.absent)
    )


def _known_version(transaction: Transaction, dialect: Dialect) -> int:
    version = _version(transaction, dialect)
    if version > NEWEST_VERSION:
        raise SchemaTooNew(
            f"the database has schema version {version} and this server knows versions up to "
            f"{NEWEST_VERSION}: start the newer server or restore a backup made before it"
        )
    return version


def _version(transaction: Transaction, dialect: Dialect) -> int:
    # Looked for before it is made, so that a database account without the right to create tables
    # can run the server once the schema stands.
    ((tables,),) = transaction.rows(dialect.table_exists, "schema_version")
    if not tables:
        return 0
    ((version,),) = transaction.rows("SELECT MAX(version) FROM schema_version")
    return int(version or 0)

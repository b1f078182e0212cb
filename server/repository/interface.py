"""What every repository can do, whichever database keeps it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from server.repository.records import (
    Client,
    Event,
    Publication,
    Published,
    Renamed,
    Sign,
    StoredFile,
    Token,
    Upload,
    Usage,
)


class Repository(ABC):
    """Clients, tokens, files, uploads and the audit trail. Every method is one transaction unless
    it says otherwise, durable when it returns, and may be called from any thread; each raises
    `RepositoryError` when the database cannot answer. A commit whose outcome is unknown is repeated
    by the method itself, which then tells what the first attempt would have told."""

    # Clients

    @abstractmethod
    def add_client(self, client: Client, token_digest: bytes | None = None) -> bytes:
        """Registers a client, with its public key or without, and returns its id. A token, given as
        SHA-256 (32 bytes), is used up in the same transaction; it has to be valid at
        `client.registered_at`.

        Raises `TokenRefused` when the token is not good for this client, then `NameTaken` when a
        client of that name exists (names differ by any byte), which leaves the token unused.
        A client of the same name and id, or of the same name and public key, is the same one, whose
        answer was lost: its id is returned and no token is used."""

    @abstractmethod
    def find_client(self, client_id: bytes) -> Client | None:
        """The client with this 16-byte id."""

    @abstractmethod
    def find_client_by_name(self, name: str) -> Client | None:
        """The client of exactly this name."""

    @abstractmethod
    def set_public_key(
        self, client_id: bytes, public_key: bytes, wrapped_aes_key: bytes, now: int
    ) -> bool:
        """Stores the client's public key (DER), its AES key and the time it was seen.

        Returns False, and changes nothing, when the client is unknown or already has another public
        key: a key is set once per registration. The same key again is accepted."""

    @abstractmethod
    def record_reconnect(self, client_id: bytes, wrapped_aes_key: bytes, now: int) -> bool:
        """Stores the newest AES key of a client of protocol 3, and the time it was seen; False
        when the client is unknown."""

    @abstractmethod
    def set_disabled(self, client_id: bytes, disabled: bool) -> bool:
        """Shuts a client out or lets it in again; False when it is unknown."""

    @abstractmethod
    def remove_client(self, client_id: bytes) -> list[bytes] | None:
        """Removes a client, its files and its uploads.

        Returns the ids of the objects of its files and of its pending uploads, all of which are
        remembered as superseded; None when the client is unknown."""

    @abstractmethod
    def clients(self) -> Iterator[Client]:
        """All clients by name, read in batches, without a transaction held between them."""

    # Tokens

    @abstractmethod
    def add_token(self, token: Token) -> None:
        """Stores a token; the same one again is accepted."""

    @abstractmethod
    def tokens(self) -> list[Token]:
        """The tokens that are not used up, also expired ones, the oldest first."""

    @abstractmethod
    def remove_token(self, digest: bytes) -> bool:
        """Revokes the token with this SHA-256; False when there is none."""

    # Uploads

    @abstractmethod
    def begin_upload(self, upload: Upload) -> Upload:
        """Remembers a pending upload. Returns what is remembered afterwards: this upload, or the
        one, pending or complete, that its client began under this upload id before.

        Raises `UnknownClient` when the client does not exist."""

    @abstractmethod
    def find_upload(self, client_id: bytes, upload_id: bytes) -> Upload | None:
        """The upload that this client began or completed under this id."""

    @abstractmethod
    def drop_upload(self, client_id: bytes, upload_id: bytes) -> bool:
        """Forgets a pending upload, whose staged bytes the caller removes; False when there is none
        of this id that is pending. An attempt at it is ended first: the repository cannot tell
        a dropped upload from one that never needed `begin_upload`, and would publish it."""

    @abstractmethod
    def pending_uploads(self) -> Iterator[Upload]:
        """All pending uploads, read in batches like `clients`."""

    @abstractmethod
    def pending_of(self, client_id: bytes) -> Usage:
        """Number and announced size of a client's pending uploads; an unknown size counts as 0."""

    @abstractmethod
    def forget_completed_uploads(self, before: int) -> None:
        """Forgets uploads completed before this time, in several transactions."""

    # Files

    @abstractmethod
    def publish(
        self,
        publications: Sequence[Publication],
        sign: Sign | None = None,
        event: Event | None = None,
    ) -> list[Published]:
        """Makes files visible under their names, in the order given, all in one transaction.

        The `event` tells who publishes them and from where. It goes to the audit trail in that
        transaction with the names and the size of what was published, and once more with those
        that a policy refused, if there are any.

        A replaced object is remembered as superseded and an upload becomes complete, with the
        receipt that `sign` makes for it, in that transaction; one that its policy refuses changes
        nothing, but its pending upload is forgotten. Publishing an object again changes nothing.
        Raises `UnknownClient` when a client does not exist; whatever is raised, nothing of the
        batch is published."""

    @abstractmethod
    def publish_file(self, file: StoredFile, event: Event | None = None) -> bytes | None:
        """Publishes one file of protocol 3 in place of any other, as `publish` does.

        Returns the object that is to be removed, or None."""

    @abstractmethod
    def find_file(self, client_id: bytes, name: str) -> StoredFile | None:
        """The verified file that this client stored under this name."""

    @abstractmethod
    def list_files(self, client_id: bytes, prefix: str, after: str, limit: int) -> list[StoredFile]:
        """The client's first `limit` verified files whose names begin with `prefix` and come behind
        `after`, by the bytes of their names; empty texts set no bound."""

    @abstractmethod
    def files(self, client_id: bytes) -> Iterator[StoredFile]:
        """A client's verified files by name, read in batches like `clients`."""

    @abstractmethod
    def remove_file(self, client_id: bytes, name: str) -> bytes | None:
        """Takes a file away from its name and remembers its object as superseded.

        Returns the object's id; None when there is no file of this name."""

    @abstractmethod
    def rename_file(self, client_id: bytes, old: str, new: str, *, replace: bool) -> Renamed:
        """Gives a file another name; with `replace` in place of a file that has it, whose object is
        remembered as superseded. A file may be renamed to the name that it has."""

    @abstractmethod
    def usage(self, client_id: bytes) -> Usage:
        """Number and total size of the client's verified files."""

    @abstractmethod
    def known_objects(self, client_id: bytes, object_ids: Sequence[bytes]) -> set[bytes]:
        """Which of these objects of a client a file, an upload or the memory of what was superseded
        leads to, once every transaction is over that was to publish files of this client. Whatever
        is not among them never will be, unless it is published anew."""

    @abstractmethod
    def superseded(self) -> list[tuple[bytes, bytes]]:
        """(client id, object id) of objects that no name leads to any more and whose bytes may
        still be on disk; the client may have been removed."""

    @abstractmethod
    def forget_superseded(self, object_id: bytes) -> None:
        """Ends the memory of a superseded object once its bytes are gone; unknown ids are
        ignored."""

    # The audit trail

    @abstractmethod
    def record(self, events: Sequence[Event]) -> None:
        """Appends to the audit trail; an event that is there already is not appended again. A
        client that has connected was seen then."""

    @abstractmethod
    def events(self, since: int = 0, client: str | None = None) -> Iterator[Event]:
        """The audit trail from `since` (microseconds since 1970 UTC), or what of it is about the
        client of this name, by time, read in batches like `clients`."""

    @abstractmethod
    def forget_events(self, before: int) -> int:
        """Removes what is older, in several transactions; how many events."""

    # The whole

    @abstractmethod
    def pairing(self) -> tuple[bytes, int] | None:
        """The id (16 bytes) of the data directory that the database belongs to, and how often a
        server has begun to use it; None before its first use."""

    @abstractmethod
    def claim(self, directory_id: bytes) -> bytes:
        """Lets the database belong to this data directory, unless it belongs to one already; the id
        of the one that it belongs to."""

    @abstractmethod
    def upgrade(self) -> None:
        """Brings the schema to the newest version, or makes it, where it was opened without; an
        older server must not be using the database. Raises `SchemaTooNew`."""

    @abstractmethod
    def hold(self, given_up: Callable[[], bool] | None = None, /) -> None:
        """Keeps other servers off the database until `close`, though not those who administer it.

        Where another one holds it that seems to be dead, and whose hold the database is going to
        end, this waits for that, about a minute, until `given_up` says true; without it not at all.
        Raises `DatabaseInUse` while another one holds it."""

    @abstractmethod
    def keep_hold(self) -> None:
        """Takes hold again where the database has let go of it, and looks whether anybody began
        meanwhile; to be called every second or so, by one thread, after `hold`.

        Raises `DatabaseInUse` when somebody else holds it, who may still give up unless
        `taken_over` says that he has begun."""

    @abstractmethod
    def begin_use(self, before: int, now: int) -> None:
        """Counts a start, from `before` to `now`. From then on whoever began earlier can change
        nothing any more, nor can this one once another begins: that raises `DatabaseInUse`.

        Raises the same when another one has begun since `before` was read; `DatabaseFull` where
        there is no room and `hold`, which lasts as long as the process, keeps others off alone."""

    @property
    @abstractmethod
    def taken_over(self) -> bool:
        """Whether another server was seen to have begun since this one did."""

    @abstractmethod
    def copy_to(self, path: Path) -> None:
        """Copies the database as it is at one moment into an SQLite file, which must not exist, for
        its owner only and durably, while others go on writing."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether it holds nothing, but for the data directory that it may belong to."""

    @abstractmethod
    def fill_from(self, copy: Path, event: Event) -> None:
        """Takes over all that an SQLite file holds which `copy_to` made, the data directory that it
        belongs to or none among it, and the `event`, which tells the audit trail of it. Where the
        event is there already nothing is done.

        Raises `NotEmpty` when anything else is there; whatever is raised, nothing was taken."""

    @abstractmethod
    def close(self) -> None:
        """Closes every connection; the repository is not used afterwards."""

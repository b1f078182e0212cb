"""What the server remembers of clients and files, whichever database keeps it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client. `public_key` is DER as the client sent it, None until it has;
    `wrapped_aes_key` is the newest AES key under the server's key file (RFC 3394);
    times are whole seconds since 1970 UTC."""

    id: bytes
    name: str
    registered_at: int
    last_seen: int
    public_key: bytes | None = None
    wrapped_aes_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A verified file. `upload_id` is 16 bytes chosen by the server and names the object that holds
    the bytes; `size` is in bytes; `cksum` is the POSIX checksum; `received_at` is in whole seconds
    since 1970 UTC."""

    client_id: bytes
    name: str
    upload_id: bytes
    size: int
    cksum: int
    received_at: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one client's verified files add up to; `size` is in bytes."""

    files: int
    size: int


class Repository(ABC):
    """Clients and files. Every method is one transaction, durable when it returns, and may be
    called from any thread; each raises `RepositoryError` when the database cannot answer."""

    @abstractmethod
    def add_client(self, client: Client) -> None:
        """Registers a client that has no key yet.

        Raises `NameTaken` when a client of that name exists (names differ by any byte)."""

    @abstractmethod
    def find_client(self, client_id: bytes) -> Client | None:
        """The client with this 16-byte id."""

    @abstractmethod
    def set_public_key(
        self, client_id: bytes, public_key: bytes, wrapped_aes_key: bytes, now: int
    ) -> bool:
        """Stores the client's public key (DER), its AES key and the time it was seen.

        Returns False, and changes nothing, when the client is unknown or already has another public
        key: a key is set once per registration. The same key again is accepted."""

    @abstractmethod
    def record_reconnect(self, client_id: bytes, wrapped_aes_key: bytes, now: int) -> bool:
        """Stores a client's newest AES key and the time it was seen; False when it is unknown."""

    @abstractmethod
    def publish_file(self, file: StoredFile) -> bytes | None:
        """Makes the file visible under its name, in place of an older one of that client and name.

        Returns the upload id that it replaced, which is remembered as superseded in the same
        transaction, or None. Publishing the same upload id again changes nothing, so a commit whose
        outcome is unknown is repeated.
        Raises `UnknownClient` when the client does not exist."""

    @abstractmethod
    def find_file(self, client_id: bytes, name: str) -> StoredFile | None:
        """The verified file that this client stored under this name."""

    @abstractmethod
    def clients(self) -> Iterator[Client]:
        """All clients by name, read in batches, without a transaction held between them."""

    @abstractmethod
    def files(self, client_id: bytes) -> Iterator[StoredFile]:
        """A client's verified files by name, read in batches like `clients`."""

    @abstractmethod
    def usage(self, client_id: bytes) -> Usage:
        """Number and total size of the client's verified files."""

    @abstractmethod
    def superseded(self) -> list[tuple[bytes, bytes]]:
        """(client id, upload id) of replaced objects whose bytes may still be on disk."""

    @abstractmethod
    def forget_superseded(self, upload_id: bytes) -> None:
        """Ends the memory of a replaced object once its bytes are gone; unknown ids are ignored."""

    @abstractmethod
    def close(self) -> None:
        """Closes every connection; the repository is not used afterwards."""

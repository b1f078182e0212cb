"""Small files that travel together: one message, one key, one signature for their receipts."""

from collections.abc import Collection
from pathlib import Path

from client.errors import BrokenProtocol, ClientError, FileUnusable
from client.receipts import Receipt
from client.refusals import refusal
from client.session4 import Access, new_salt
from protocol.errors import ProtocolError
from protocol.messages4 import Outcomes, Put, Stored
from protocol.smallfiles import (
    MOST_SMALL_FILES,
    MOST_TABLE_BYTES,
    SmallFile,
    pack_file,
    unpack_outcomes,
)

_MOST_CONTENT_BYTES = 960 << 10
"""With the largest table it fits a payload, and a small file fits beside others."""


class Group:
    """Some small files, held in memory until they are answered."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.files: list[SmallFile] = []
        self.table = bytearray()
        self.content = bytearray()

    def add(self, path: Path, file: SmallFile, content: bytes) -> bool:
        """Adds a file; False, and nothing is added, when there is no room for it.

        Raises `FileUnusable` where the protocol cannot tell of it, as after the year 2262.
        """
        try:
            packed = pack_file(file)
        except ProtocolError as error:
            raise FileUnusable(f"{str(path)!r} cannot be sent: {error}") from error
        if self.files and (
            len(self.files) == MOST_SMALL_FILES
            or len(self.table) + len(packed) > MOST_TABLE_BYTES
            or len(self.content) + len(content) > _MOST_CONTENT_BYTES
        ):
            return False
        self.paths.append(path)
        self.files.append(file)
        self.table += packed
        self.content += content
        return True

    def without(self, answered: Collection[int]) -> "Group":
        """The files but those at these places."""
        left, at = Group(), 0
        for index, (path, file) in enumerate(zip(self.paths, self.files, strict=True)):
            if index not in answered:
                left.add(path, file, bytes(self.content[at : at + file.size]))
            at += file.size
        return left

    def sealed(self, access: Access) -> Put:
        """As a message, under a key of its own."""
        salt, table = new_salt(), bytes(self.table)
        return Put(salt, table, access.seal_files(salt, table, self.content))

    def check(self, access: Access, outcomes: Outcomes) -> list[Receipt | ClientError]:
        """The checked receipt of each file, or why there is none.

        Raises `BrokenProtocol` and `BadReceipt`.
        """
        try:
            told = unpack_outcomes(outcomes.table, len(self.files))
        except ProtocolError as error:
            raise BrokenProtocol(f"the server breaks protocol 4: {error}") from error
        signer = access.signer
        pairs = list(zip(self.files, told, strict=True))
        stored = [file for file, outcome in pairs if outcome is None]
        receipts = iter(signer.receipts(stored, outcomes.received, outcomes.signature))
        return [
            next(receipts)
            if outcome is None
            else signer.check(outcome, file.upload_id, file.name, file.size, file.sha256)
            if isinstance(outcome, Stored)
            else refusal(outcome)
            for file, outcome in pairs
        ]

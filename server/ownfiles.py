"""What a client of protocol 4 sees and changes of its own files (section 6), and nobody else's."""

from collections.abc import Iterator
from typing import BinaryIO

from protocol.contexts import SEGMENT_BYTES, TAG_BYTES, Direction, segment_count, segment_span
from protocol.errors import ProtocolError
from protocol.messages4 import (
    Content,
    Done,
    Entries,
    Entry,
    Get,
    List,
    Policy,
    Remove,
    Rename,
    Request4,
    Response4,
    Stat,
)
from protocol.names import check_path
from server.errors import FileExists, FileNotThere, StorageError
from server.rates import Rates
from server.receiving import Receiver
from server.repository import Renaming, Repository, StoredFile
from server.sealing import SegmentSealer, content_key
from server.segmentmemory import SegmentMemory
from server.storage import pass_over_page_cache, read_fully

_LARGE_BYTES = 64 * SEGMENT_BYTES
"""Files from this size on are read past the page cache: they would drive out of it what others use,
and finding memory for all of them can take longer than reading them."""


class OwnFiles:
    """The files of one client."""

    def __init__(
        self,
        repository: Repository,
        receiver: Receiver,
        rates: Rates,
        memory: SegmentMemory,
        client_id: bytes,
    ) -> None:
        self._repository = repository
        self._receiver = receiver
        self._rates = rates
        self._memory = memory
        self._client_id = client_id

    def carry_out(self, request: Request4) -> Response4:
        """Answers *list*, *stat*, *remove* and *rename*.

        Raises `UnsafeName`, `FileNotThere`, `FileExists` or `RepositoryError`.
        """
        match request:
            case List(prefix=prefix, after=after, limit=limit):
                # One more than asked for shows whether there are further ones.
                files = self._repository.list_files(self._client_id, prefix, after, limit + 1)
                return Entries.page(map(entry_of, files), limit)
            case Stat(name=name):
                return entry_of(self._find(name))
            case Remove(name=name):
                return self._remove(name)
            case Rename():
                return self._rename(request)
        raise ProtocolError(f"{type(request).__name__} is not served")

    def open(self, request: Get) -> tuple[StoredFile, BinaryIO]:
        """The file that is asked for and its bytes, which begin where the client wants them.

        Raises `UnsafeName`, `FileNotThere`, `StorageError` or `RepositoryError`.
        """
        file, stream = self._open_newest(request.name)
        if request.offset and request.offset >= file.size:
            stream.close()
            raise FileNotThere(f"{request.name!r} has no byte {request.offset}")
        stream.seek(request.offset)
        return file, stream

    def content(
        self, file: StoredFile, stream: BinaryIO, request: Get, secret: bytes
    ) -> Iterator[Content]:
        """The segments of what `open` gave, each valid until the next one.

        Raises `StorageError`.
        """
        key = content_key(
            secret, request.salt, Direction.TO_CLIENT, self._client_id, file.object_id
        )
        sealer = SegmentSealer(key, file.object_id)
        sealed = memoryview(bytearray(min(SEGMENT_BYTES, file.size) + TAG_BYTES))
        last = segment_count(file.size) - 1
        if file.size >= _LARGE_BYTES:
            pass_over_page_cache(stream)
        for index in range(request.offset // SEGMENT_BYTES, last + 1):
            start, end = segment_span(index, file.size)
            self._rates.take(self._client_id, end - start)
            # Not kept while the client takes its time to receive.
            with self._memory.buffer() as plain:
                size = read_fully(stream, plain[: end - start])
                piece = sealer.seal(index, plain[:size], sealed, final=index == last)
            yield Content(index, index == last, piece)

    def _find(self, name: str) -> StoredFile:
        check_path(name)
        file = self._repository.find_file(self._client_id, name)
        if file is None:
            raise FileNotThere(f"there is no file {name!r}")
        return file

    def _open_newest(self, name: str) -> tuple[StoredFile, BinaryIO]:
        while True:
            file = self._find(name)
            try:
                stream = self._receiver.storage.open(self._client_id, file.object_id)
            except StorageError:
                if self._find(name).object_id == file.object_id:
                    raise
                continue  # it was replaced in between, and there is another one now
            return file, stream

    def _remove(self, name: str) -> Response4:
        check_path(name)
        object_id = self._repository.remove_file(self._client_id, name)
        if object_id is None:
            raise FileNotThere(f"there is no file {name!r}")
        self._receiver.quota.changed(self._client_id)
        self._receiver.remove_superseded(self._client_id, object_id)
        return Done()

    def _rename(self, request: Rename) -> Response4:
        check_path(request.old_name)
        check_path(request.new_name)
        renamed = self._repository.rename_file(
            self._client_id,
            request.old_name,
            request.new_name,
            replace=request.policy is Policy.ALWAYS,
        )
        match renamed.outcome:
            case Renaming.NOT_FOUND:
                raise FileNotThere(f"there is no file {request.old_name!r}")
            case Renaming.EXISTS:
                raise FileExists(f"{request.new_name!r} is there already")
        if renamed.superseded is not None:
            self._receiver.quota.changed(self._client_id)
            self._receiver.remove_superseded(self._client_id, renamed.superseded)
        return Done()


def entry_of(file: StoredFile) -> Entry:
    """A file as its owner is told of it; what protocol 3 did not tell is made up."""
    modified = file.received_at * 10**9 if file.modified is None else file.modified
    return Entry(
        upload_id=file.object_id,
        size=file.size,
        modified=modified,
        mode=0o600 if file.mode is None else file.mode,
        received=file.received_at,
        sha256=file.sha256,
        cksum=file.cksum,
        name=file.name,
    )

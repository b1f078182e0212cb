"""Sending files: each until it is acknowledged, whatever happens to connections in between."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from client.errors import ClientError, ConnectionFailed, DigestMismatch, FileFailed, UnusableName
from client.known_servers import server_key
from client.link import Link
from client.pending import PendingUploads, Version
from client.posting import Posting, PutResult
from client.reading import Content, FileContent, SmallContent, StreamContent, read_small
from client.receipts import Receipt, ReceiptStore
from client.uploading import Progress, Upload, send
from protocol.contexts import UPLOAD_ID_BYTES
from protocol.errors import UnsafeName
from protocol.messages4 import Policy
from protocol.names import check_path
from protocol.smallfiles import SmallFile

_MOST_FRESH_STARTS = 2
_DEFAULT_MODE = 0o600


class Sender:
    """Sends files over one link, and keeps their receipts."""

    def __init__(self, link: Link, receipts: ReceiptStore, pending: PendingUploads) -> None:
        self._link = link
        self._receipts = receipts
        self._pending = pending

    def send_file(
        self,
        path: Path,
        name: str,
        policy: Policy,
        progress: Progress,
        modified: int | None = None,
        mode: int | None = None,
    ) -> Receipt:
        """Sends one file; raises `ClientError`."""
        check_name(name)
        small = read_small(path)
        if small is not None:
            return self._send_small(small, name, policy, progress, modified, mode)
        with FileContent(path) as content:
            upload = Upload(
                _new_id(),
                name,
                policy,
                content.modified if modified is None else modified,
                content.mode if mode is None else mode,
            )
            return self._send_large(path, upload, content, progress)

    def send_stream(
        self,
        stream: BinaryIO,
        name: str,
        policy: Policy,
        progress: Progress,
        modified: int | None = None,
        mode: int | None = None,
    ) -> Receipt:
        """Sends what can be read only once; raises `ClientError`."""
        check_name(name)
        upload = Upload(
            _new_id(),
            name,
            policy,
            time.time_ns() if modified is None else modified,
            _DEFAULT_MODE if mode is None else mode,
        )
        return self._send(upload, StreamContent(stream), progress, _new_id)

    def send_many(
        self,
        files: Iterable[tuple[Path, str]],
        policy: Policy,
        on_file: Callable[[PutResult], None],
        progress: Progress,
    ) -> None:
        """Sends files, small ones without waiting for each; `on_file` is told how each ended.

        Raises what ends the whole: `ClientError` other than `FileFailed`.
        """
        done_bytes = 0

        def done(result: PutResult) -> None:
            nonlocal done_bytes
            if result.receipt is not None:
                done_bytes += result.receipt.body.size
                progress(done_bytes, None)
            on_file(result)

        posting = Posting(self._link, self._receipts, done)
        for path, name in files:
            try:
                check_name(name)
                small = read_small(path)
                if small is not None:
                    posting.add(path, _small_file(small, name, policy), small.content)
                    continue
                posting.finish()
                receipt = self.send_file(path, name, policy, partial(_behind, progress, done_bytes))
            except FileFailed as error:
                done(PutResult(path, name, None, error))
            else:
                done(PutResult(path, name, receipt, None))
        posting.finish()

    def _send_small(
        self,
        small: SmallContent,
        name: str,
        policy: Policy,
        progress: Progress,
        modified: int | None,
        mode: int | None,
    ) -> Receipt:
        results: list[PutResult] = []
        posting = Posting(self._link, self._receipts, results.append)
        posting.add(small.path, _small_file(small, name, policy, modified, mode), small.content)
        posting.finish()
        receipt, error = results[0].receipt, results[0].error
        if receipt is None:
            raise error or RuntimeError("neither receipt nor error")
        progress(receipt.body.size, receipt.body.size)
        return receipt

    def _send_large(
        self, path: Path, upload: Upload, content: FileContent, progress: Progress
    ) -> Receipt:
        client_id = self._link.identities.load(self._link.address).client_id
        server = server_key(self._link.address)
        version = Version(content.size, content.modified)
        with self._pending.claim(server, client_id, upload.name, path, version) as pending:
            if pending.stale_id is not None:
                self._abandon(pending.stale_id)

            def renewed() -> bytes:
                pending.renew()
                return pending.upload_id

            upload = upload._replace(upload_id=pending.upload_id)
            try:
                receipt = self._send(upload, content, progress, renewed)
            except FileFailed:
                pending.done()  # it was abandoned
                raise
            pending.done()
            return receipt

    def _send(
        self, upload: Upload, content: Content, progress: Progress, renewed: Callable[[], bytes]
    ) -> Receipt:
        """Sends until the receipt is there; `renewed` gives another upload id."""
        backoff = self._link.backoff()
        furthest = -1
        fresh_starts = 0

        def resumed(offset: int) -> None:
            nonlocal furthest
            if offset > furthest:
                furthest = offset
                backoff.answered()

        while True:
            try:
                with self._link.use() as connection:
                    connection.prepare(content.size)
                    receipt = send(
                        connection.session,
                        connection.access,
                        upload,
                        content,
                        progress=progress,
                        resumed=resumed,
                    )
                return self._receipts.store([receipt])[0]
            except ConnectionFailed as error:
                backoff.failed(error)
            except FileFailed as error:
                self._abandon(upload.upload_id)
                if not isinstance(error, DigestMismatch) or fresh_starts == _MOST_FRESH_STARTS:
                    raise
                fresh_starts += 1
                upload = upload._replace(upload_id=renewed())

    def _abandon(self, upload_id: bytes) -> None:
        """Spares the server an upload that will not be resumed; it would find out by itself."""
        with contextlib.suppress(ClientError), self._link.use() as connection:
            connection.session.abandon(upload_id)


def check_name(name: str) -> None:
    """Raises `UnusableName` unless this is a file name of protocol 4."""
    try:
        check_path(name)
    except UnsafeName as error:
        raise UnusableName(str(error)) from error


def _behind(progress: Progress, before: int, done: int, _total: int | None) -> None:
    progress(before + done, None)


def _small_file(
    small: SmallContent,
    name: str,
    policy: Policy,
    modified: int | None = None,
    mode: int | None = None,
) -> SmallFile:
    return SmallFile(
        _new_id(),
        len(small.content),
        small.modified if modified is None else modified,
        small.mode if mode is None else mode,
        policy,
        hashlib.sha256(small.content).digest(),
        name,
    )


def _new_id() -> bytes:
    # Sorted by time: the server's index of uploads is then filled from one end, which is quicker.
    return time.time_ns().to_bytes(8, "big") + os.urandom(UPLOAD_ID_BYTES - 8)

"""A run: connect, introduce oneself, send the files one after the other, tell how it went."""

import shlex
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from client.address import Address
from client.connection import Connection
from client.content import SealedContent, largest_file_bytes
from client.errors import (
    BadInput,
    ClientError,
    ConnectionFailed,
    ExitStatus,
    FileFailed,
    FileUnusable,
    ServerHungUp,
)
from client.identity import IdentityStore
from client.introduction import Introduction
from client.opening import open_regular
from client.plan import ListedFile, Plan, make_plan
from client.progress import Advance, Progress
from client.report import FileResult, Outcome, Report
from client.retrying import Backoff
from client.session3 import GeneralErrors, Receipt, Session3
from protocol.errors import UnsafeName
from protocol.generations import Generation
from protocol.names import check_file_name


class Options(NamedTuple):
    """What the command line says. `timeout` in seconds; None and () leave it to transfer.info."""

    directory: Path
    generation: Generation
    server: str | None = None
    name: str | None = None
    files: tuple[str, ...] = ()
    timeout: float = 60.0
    retries: int = 4


class _File:
    """A file of this run, on its way."""

    def __init__(self, listed: ListedFile, progress: Progress, clock: Callable[[], float]) -> None:
        self.listed = listed
        self.name = listed.path.name
        self.attempts = 0
        self._progress = progress
        self._clock = clock
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        return 0.0 if self._began is None else round(self._clock() - self._began, 3)

    def check(self, largest: int) -> None:
        """Raises `FileUnusable` for what can be known before connecting."""
        origin = self.listed.origin
        try:
            check_file_name(self.name)
            with open_regular(self.listed.path) as file:
                size = file.seek(0, 2)
        except UnsafeName as error:
            raise FileUnusable(f"{origin}: {error}; rename the file") from error
        except FileUnusable as error:
            raise FileUnusable(f"{origin}: {error}") from error
        if size > largest:
            raise FileUnusable(
                f"{origin}: {self.listed.shown!r} has {size} bytes, protocol 3 carries at most"
                f" {largest}; split it"
            )

    def open(self, session_key: bytes) -> SealedContent:
        if self._began is None:
            self._began = self._clock()
        self.attempts += 1
        return SealedContent(self.listed.path, session_key)

    def progress(self, size: int) -> AbstractContextManager[Advance]:
        return self._progress(self.name, size)


class Batch:
    """One run with these options; `clock` and `sleep` are in seconds."""

    def __init__(
        self,
        options: Options,
        report: Report,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options = options
        self._report = report
        self._progress = progress
        self._clock = clock
        self._backoff = Backoff(options.retries, self._announce_retry, sleep=sleep)
        self._general_errors = GeneralErrors(report.general_error)
        self._store = IdentityStore(options.directory)
        self._pending: deque[_File] = deque()
        self._warned = False

    def run(self) -> ExitStatus:
        """Does everything and reports everything; raises nothing that a user could cause."""
        began = self._clock()
        status, error = self._status()
        try:
            for file in self._pending:
                self._report.file_done(_result(file, Outcome.UNSENT, None, None))
            self._report.finish(status, error, self._clock() - began)
        except ClientError as failure:
            self._report.fatal(failure)
            return failure.status
        return status

    def _status(self) -> tuple[ExitStatus, str | None]:
        try:
            self._send_all()
        except ClientError as error:
            self._report.fatal(error)
            return error.status, str(error)
        except KeyboardInterrupt:
            self._report.warn("interrupted; files that were not acknowledged are to be sent again")
            return ExitStatus.INTERRUPTED, "interrupted"
        if all(result.outcome is Outcome.VERIFIED for result in self._report.results):
            return ExitStatus.VERIFIED, None
        return ExitStatus.FILE_FAILED, None

    def _send_all(self) -> None:
        options = self._options
        plan = make_plan(
            options.directory,
            server=options.server,
            name=options.name,
            files=options.files,
            takes_files=True,
        )
        self._pending.extend(_File(listed, self._progress, self._clock) for listed in plan.files)
        _check_distinct(self._pending)
        name = self._name(plan)
        self._warn_of_open_keys()
        self._drop_unusable()
        while self._pending:
            try:
                self._send_on_one_connection(plan.server, name)
            except ConnectionFailed as error:
                self._backoff.failed(error)

    def _name(self, plan: Plan) -> str:
        """The name to go by; raises `BadInput` when me.info and the plan contradict each other."""
        known = self._store.load_unfinished() or self._store.load()
        if known is None:
            if plan.name is None:
                raise BadInput(
                    "--name",
                    "missing, and there is neither transfer.info nor me.info",
                    "say under which name to register",
                )
            return plan.name.text
        if plan.name is not None and plan.name.text != known.name:
            raise BadInput(
                plan.name.origin,
                f"says {plan.name.text!r}, but {known.origin} says {known.name!r}",
                f"make them agree, or move {known.origin} away to register as a new client",
            )
        return known.name

    def _drop_unusable(self) -> None:
        """Reports the files that cannot be sent, so that the others are known to be there."""
        largest = largest_file_bytes(self._options.generation)
        for file in tuple(self._pending):
            try:
                file.check(largest)
            except FileFailed as error:
                self._pending.remove(file)
                self._failed(file, error)

    def _send_on_one_connection(self, server: Address, name: str) -> None:
        options = self._options
        self._report.step(f"connecting to {server}")
        with Connection.open(server, options.timeout) as connection:
            self._warn_once(server, connection)
            session = Session3(connection, options.generation, self._general_errors)
            session_key = Introduction(
                session, self._store, options.generation.aes_key_bytes, self._report.step
            ).session_key(name)
            while self._pending:
                try:
                    receipt = session.send_file(self._pending[0], session_key)
                except FileFailed as error:
                    self._failed(self._pending.popleft(), error)
                    if error.breaks_connection:
                        return
                except ServerHungUp:
                    # An answer, if a bad one; it is counted for this file, so that this ends.
                    self._backoff.answered()
                    raise
                else:
                    self._verified(self._pending.popleft(), receipt)

    def _warn_of_open_keys(self) -> None:
        if paths := self._store.open_to_others():
            shown = " ".join(shlex.quote(str(path)) for path in paths)
            self._report.warn(f"others can read the private key: chmod 600 {shown}")

    def _warn_once(self, server: Address, connection: Connection) -> None:
        if not self._warned and not connection.is_local:
            self._warned = True
            self._report.warn(
                f"protocol 3 does not prove that {server} is the right server, and whoever is on"
                " the way can read names and alter contents"
            )

    def _announce_retry(self, error: ConnectionFailed, seconds: float, number: int) -> None:
        self._report.delay(
            f"{error}; trying again in {seconds:.1f} s ({number} of {self._options.retries})"
        )

    def _verified(self, file: _File, receipt: Receipt) -> None:
        self._backoff.answered()
        self._report.file_done(_result(file, Outcome.VERIFIED, receipt, None))

    def _failed(self, file: _File, error: FileFailed) -> None:
        self._report.fatal(error)
        self._report.file_done(_result(file, Outcome.FAILED, None, error))


def _check_distinct(files: Iterable[_File]) -> None:
    """The server knows a file by its name only: the second would replace the first."""
    first: dict[str, _File] = {}
    for file in files:
        earlier = first.setdefault(file.name, file)
        if earlier is not file:
            raise BadInput(
                file.listed.origin,
                f"{file.listed.shown!r} and {earlier.listed.shown!r} would have the same name",
                "rename one of them, or send them in runs under different client names",
            )


def _result(
    file: _File, outcome: Outcome, receipt: Receipt | None, error: FileFailed | None
) -> FileResult:
    return FileResult(
        file=file.listed.shown,
        name=file.name or None,
        size=receipt.size if receipt else None,
        cksum=receipt.checksum if receipt else None,
        outcome=outcome,
        seconds=file.seconds,
        attempts=file.attempts,
        error=str(error) if error else None,
    )

"""Files on their way to a server, over one or more connections."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from client.commands.output import Outcome, Row, amount, files, printable
from client.commands.remote import Progress, PutResult, Remote, SignedReceipt
from client.commands.running import Context
from client.errors import BadInput, ClientError, Exists, FileFailed
from client.progress import Display, is_terminal
from client.walking import Found
from protocol.contexts import SMALL_FILE_BYTES
from protocol.requests4 import Policy

if TYPE_CHECKING:
    from queue import SimpleQueue

POLICIES = {"never": Policy.NEVER, "if-newer": Policy.IF_OLDER, "always": Policy.ALWAYS}
_PATIENCE_SECONDS = 2.0


class _Stopped(Exception):
    """The command is over while this thread still sends."""


def check_distinct(found: Sequence[Found], remedy: str) -> None:
    """Raises `BadInput` when two files would get one name: the second would replace the first."""
    first: dict[str, Found] = {}
    for file in found:
        earlier = first.setdefault(file.name, file)
        if earlier is not file:
            raise BadInput(
                repr(str(file.path)),
                f"would have the name {file.name!r}, as would {str(earlier.path)!r}",
                remedy,
            )


class Sending:
    """One command's files. Small ones share one connection, without waiting for each; large ones
    are divided among all connections."""

    def __init__(self, context: Context, found: Sequence[Found], policy: Policy) -> None:
        self._output = context.output
        self._policy = policy
        # Entries leave it when their fate is known: what is left was not sent.
        self._pending = {file.name: file for file in found}
        self._large = deque(file for file in found if file.size > SMALL_FILE_BYTES)
        self._small = deque(file for file in found if file.size <= SMALL_FILE_BYTES)
        self._began: dict[str, float] = {}
        self._stop = Event()
        self._display = Display(
            sys.stderr,
            quiet=context.output.quiet or context.output.json_lines,
            files=len(found),
            total=sum(file.size for file in found),
            action="sending",
        )
        self._context = context

    def run(self, remote: Remote, *, jobs: int = 1, limit_rate: int | None = None) -> None:
        """Sends all files; reports every one of them, also when it raises `ClientError`.

        `remote` is one of the `jobs` connections; `limit_rate` is for each of the others.
        """
        output = self._output
        try:
            # Connects: a question about an unknown server comes once, and before the bars.
            remote.whoami()
            with self._display:
                output.aside = self._display.aside
                others = min(jobs - 1, len(self._large))
                if others > 0:
                    self._share(remote, others, limit_rate)
                else:
                    self._send(remote)
        finally:
            self._stop.set()
            for file in list(self._pending.values()):
                output.file(Row(str(file.path), file.name, Outcome.UNSENT))

    def _share(self, remote: Remote, others: int, limit_rate: int | None) -> None:
        from queue import SimpleQueue

        ended: SimpleQueue[BaseException | None] = SimpleQueue()

        def another() -> None:
            with self._context.open(limit_rate=limit_rate) as opened:
                self._send_large(opened)

        works = [lambda: self._send(remote), *[another] * others]
        threads = [
            # Daemons: an interrupt is not to wait for a server that does not answer.
            Thread(target=_run, args=(work, ended), name=f"sending {number}", daemon=True)
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                if (error := ended.get()) is not None:
                    raise error
        finally:
            self._stop.set()
            deadline = time.monotonic() + _PATIENCE_SECONDS
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _send(self, remote: Remote) -> None:
        if self._small:
            remote.put_many(self._take_small(), policy=self._policy, on_file=self._small_done)
        self._send_large(remote)

    def _take_small(self) -> Iterator[tuple[Path, str]]:
        while self._small:
            self._check_stop()
            file = self._small.popleft()
            self._began[file.name] = time.monotonic()
            yield file.path, file.name

    def _small_done(self, result: PutResult) -> None:
        self._check_stop()
        if result.receipt is not None:
            self._verified(result.name, result.receipt)
        elif result.error is not None:
            self._failed(result.name, result.error)

    def _send_large(self, remote: Remote) -> None:
        while True:
            self._check_stop()
            try:
                file = self._large.popleft()
            except IndexError:
                return
            self._began[file.name] = time.monotonic()
            try:
                receipt = remote.put(
                    file.path, file.name, policy=self._policy, progress=self._progress(file.name)
                )
            except FileFailed as error:
                self._failed(file.name, error)
            else:
                self._verified(file.name, receipt)

    def _progress(self, name: str) -> Progress:
        def progress(done: int, total: int | None) -> None:
            self._check_stop()
            self._display.advance(name, done, total)

        return progress

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _verified(self, name: str, receipt: SignedReceipt) -> None:
        file = self._pending.pop(name)
        self._display.finish(name, file.size)
        report_stored(self._context, str(file.path), receipt, self._seconds(name))

    def _failed(self, name: str, error: ClientError) -> None:
        file = self._pending.pop(name)
        self._display.finish(name, file.size)
        if isinstance(error, Exists):
            self._output.step(f"{printable(name)}: is there already, skipped")
            self._output.file(
                Row(str(file.path), name, Outcome.SKIPPED, seconds=self._seconds(name))
            )
        else:
            self._output.failed(str(file.path), name, error, self._seconds(name))

    def _seconds(self, name: str) -> float:
        return round(time.monotonic() - self._began.pop(name, time.monotonic()), 3)


def report_stored(context: Context, file: str, receipt: SignedReceipt, seconds: float) -> None:
    """Tells that the server has a file."""
    body, output = receipt.body, context.output
    row = Row(file, body.file_name, Outcome.VERIFIED, body.size, body.sha256.hex(), seconds=seconds)
    output.file(row)
    if output.verbose:  # making the text takes longer than the rest
        output.step(
            f"{printable(body.file_name)}: {amount(body.size)}, SHA-256 {body.sha256.hex()}, stored"
        )


def tell_totals(context: Context, done: str) -> None:
    """One line for whoever watches: how many files and bytes are `done`."""
    output = context.output
    if output.verbose or is_terminal(sys.stderr):
        seconds = max(output.seconds, 0.001)
        output.note(
            f"{files(output.counts[Outcome.VERIFIED])} {done}, {amount(output.bytes)} in"
            f" {seconds:.1f} s ({amount(round(output.bytes / seconds))}/s)"
        )


def _run(work: Callable[[], None], ended: "SimpleQueue[BaseException | None]") -> None:
    try:
        work()
    except _Stopped:
        ended.put(None)
    except BaseException as error:  # noqa: BLE001 - the main thread raises it
        ended.put(error)
    else:
        ended.put(None)

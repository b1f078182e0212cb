"""A server's life: open database and data directory, recover, serve, drain."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from protocol.generations import GENERATIONS, generations_by_code
from server.access import Access, Bans
from server.audit import Audit
from server.certificate import Certificate
from server.config import Config
from server.connection import Doors
from server.errors import ConfigurationError, ServerError
from server.holding import Holding
from server.keys import KeyFile
from server.keytable import KeyTable
from server.listener import Listener
from server.monitoring import monitored
from server.pairing import begin, pair
from server.rates import Rates
from server.receiptkey import ReceiptKey
from server.receiving import Receiver, Recovery
from server.repository import Repository, open_repository
from server.segmentmemory import SegmentMemory
from server.session3 import Services
from server.session4 import Services4
from server.smallfiles import SmallFiles
from server.storage import DirectoryStorage
from server.tickets import Tickets
from server.uploading import Uploads

_log = logging.getLogger(__name__)

_SIGNAL_POLL_SECONDS = 0.2
_OBJECTS_BETWEEN_COLLECTIONS = 20_000
_SWEEP_SECONDS = 60.0


@contextmanager
def listening(config: Config, given_up: Callable[[], bool] = lambda: False) -> Iterator[Listener]:
    """A recovered server that listens; leaving the context releases everything it holds.

    The caller runs `serve_forever` and `drain`. Where the hold of a server that died is waited for,
    `given_up` is asked every few seconds and ends the wait. Raises `ServerError` when a part cannot
    be opened.
    """
    with ExitStack() as stack:
        storage = DirectoryStorage(config.data)
        stack.callback(storage.close)
        key_file = KeyFile(config.data / "server.key")
        repository = open_repository(
            config.database_url, password=config.database_password(os.environ), upgrade=None
        )
        stack.callback(repository.close)
        repository.hold(given_up)
        stack.callback(Holding(repository).close)
        repository.upgrade()  # its tables may have been those of an older server until now
        pair(repository, config.data, storage)
        begin(repository, config.data)
        receiver = Receiver(repository, storage, config)
        recovery = receiver.recover()
        _report(recovery)
        key_table = KeyTable(config.reuse_keys_seconds, config.max_connections)
        stack.callback(key_table.clear)
        generations = generations_by_code(GENERATIONS[config.generation_1025])
        audit = Audit(repository)
        stack.callback(audit.close)
        services3 = Services(config, repository, receiver, key_file, key_table, generations, audit)
        services4 = _services4(config, repository, receiver, audit)
        stack.callback(services4.memory.close)
        doors = Doors(services3, services4, open_certificate(config))
        listener = Listener(config, doors)
        stack.callback(listener.server_close)
        yield listener


def open_certificate(config: Config) -> Certificate:
    """The operator's certificate, or the server's own; raises `ConfigurationError`."""
    if (config.certificate is None) != (config.certificate_key is None):
        raise ConfigurationError("give both --certificate and --certificate-key, or neither")
    if config.certificate is not None and config.certificate_key is not None:
        return Certificate(config.certificate, config.certificate_key)
    return Certificate.own(config.data)


def _services4(
    config: Config, repository: Repository, receiver: Receiver, audit: Audit
) -> Services4:
    receipt_key = ReceiptKey(config.data / "receipt.key")
    memory = SegmentMemory()
    uploads = Uploads(receiver, repository, receipt_key, memory)
    small_files = SmallFiles(uploads, receiver, repository, receipt_key)
    uploads.expire(config.upload_days * 86400)
    return Services4(
        config=config,
        repository=repository,
        receiver=receiver,
        uploads=uploads,
        small_files=small_files,
        access=Access(repository, config.registration),
        bans=Bans(config.max_failed_attempts, config.ban_seconds),
        rates=Rates(config.max_rate_per_client),
        receipt_key=receipt_key,
        memory=memory,
        tickets=Tickets(),
        audit=audit,
    )


def _report(recovery: Recovery) -> None:
    if recovery != Recovery():
        _log.warning(
            "after an unclean stop: %d partial uploads removed, %d replaced objects removed,"
            " %d objects set aside, %d brought back",
            recovery.swept,
            recovery.removed,
            recovery.set_aside,
            recovery.brought_back,
        )
    for client, file in recovery.damaged:
        _log.error("the bytes of %r of client %r are gone or of another size", file, client)
    if recovery.damaged:
        _log.error(
            "acknowledged files that are not whole: %d; if this data directory is an older copy,"
            " stop this server and give the newest one as --data; if not, `check` lists them, to be"
            " put back from a backup or sent again",
            len(recovery.damaged),
        )


def _reload(certificate: Certificate) -> None:
    try:
        certificate.reload()
    except ConfigurationError as error:
        _log.error("the certificate in use stays: %s", error)
    else:
        _log.info("certificate %s", certificate)


def _sweep(services: Services4, stop: Callable[[], bool]) -> None:
    try:
        removed = services.receiver.sweep(stop)
        expired = services.uploads.expire(services.config.upload_days * 86400)
    except ServerError as error:
        _log.warning("what nobody needs any more stays for now: %s", error)
    else:
        if removed:
            _log.info("%d objects that no name leads to any more removed", removed)
        if expired:
            _log.info("%d interrupted uploads given up: their clients did not go on", expired)


def serve(config: Config, announce: Callable[[str], None]) -> int:
    """Serves until SIGTERM or SIGINT, drains, and returns the exit status.

    `announce` is told where the server listens. A second signal ends the grace time.
    """
    signals: list[int] = []  # an Event's lock could be held when a handler interrupts its owner

    def on_signal(number: int, _frame: object) -> None:
        signals.append(number)

    reloads: list[int] = []

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    signal.signal(signal.SIGHUP, lambda number, _frame: reloads.append(number))
    with (
        listening(config, lambda: bool(signals)) as listener,
        monitored(config, listener) as metrics_port,
    ):
        # Small files are thousands of objects that live for a moment: no need to look for cycles
        # among them as often, nor ever among what lives as long as the server.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        accepting = threading.Thread(target=listener.serve_forever, name="accept", daemon=True)
        accepting.start()
        host = f"[{config.host}]" if ":" in config.host else config.host
        announce(f"certificate {listener.doors.certificate}")
        announce(f"listening on {host} port {listener.port}, files in {config.data}")
        if metrics_port is not None:
            announce(f"metrics on http://127.0.0.1:{metrics_port}/metrics")
        swept_at = time.monotonic()
        # The kernel may give the signal to another thread, which wakes nobody here.
        repository = listener.doors.services4.repository
        while not signals and accepting.is_alive() and not repository.taken_over:
            time.sleep(_SIGNAL_POLL_SECONDS)
            if reloads:
                reloads.clear()
                _reload(listener.doors.certificate)
            if time.monotonic() >= swept_at + _SWEEP_SECONDS:
                _sweep(listener.doors.services4, lambda: bool(signals))
                swept_at = time.monotonic()
        asked = bool(signals)
        if repository.taken_over:
            _log.error(
                "another server has begun to use the database: this one ends, and acknowledges"
                " nothing any more; stop one of them, or give each a --data and a --database of"
                " its own"
            )
        elif not asked:
            _log.error("no connection can be accepted any more")
        _log.info("stopping: running transfers have %g seconds", config.grace_seconds)
        finished = listener.drain(lambda: len(signals) > asked or repository.taken_over)
        _log.log(
            logging.INFO if finished else logging.WARNING,
            "stopped" if finished else "stopped before every transfer had finished",
        )
    return 0 if asked else 1

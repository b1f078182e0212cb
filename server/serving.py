"""A server's life: open database and data directory, recover, serve, drain."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from protocol.generations import GENERATIONS, generations_by_code
from server.config import Config
from server.errors import ConfigurationError
from server.keys import KeyFile
from server.keytable import KeyTable
from server.listener import Listener
from server.receiving import Receiver, Recovery
from server.repository import open_repository
from server.session3 import Services
from server.storage import DirectoryStorage

_log = logging.getLogger(__name__)

_SIGNAL_POLL_SECONDS = 0.2


@contextmanager
def listening(config: Config) -> Iterator[Listener]:
    """A recovered server that listens; leaving the context releases everything it holds.

    The caller runs `serve_forever` and `drain`. Raises `ServerError` when a part cannot be opened.
    """
    if not config.loopback and not config.allow_protocol_3:
        raise ConfigurationError(
            f"{config.host} is reachable from other machines, and protocol 3 neither authenticates"
            " the server nor protects content from being altered: give --allow-protocol-3 if that"
            " is acceptable"
        )
    with ExitStack() as stack:
        storage = DirectoryStorage(config.data)
        stack.callback(storage.close)
        key_file = KeyFile(config.data / "server.key")
        repository = open_repository(
            config.database_url, password=config.database_password(os.environ)
        )
        stack.callback(repository.close)
        receiver = Receiver(repository, storage, config)
        recovery = receiver.recover()
        _report(recovery)
        key_table = KeyTable(config.reuse_keys_seconds, config.max_connections)
        stack.callback(key_table.clear)
        generations = generations_by_code(GENERATIONS[config.generation_1025])
        listener = Listener(
            Services(config, repository, receiver, key_file, key_table, generations)
        )
        stack.callback(listener.server_close)
        yield listener


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


def serve(config: Config, announce: Callable[[str], None]) -> int:
    """Serves until SIGTERM or SIGINT, drains, and returns the exit status.

    `announce` is told where the server listens. A second signal ends the grace time.
    """
    signals: list[int] = []  # an Event's lock could be held when a handler interrupts its owner

    def on_signal(number: int, _frame: object) -> None:
        signals.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    with listening(config) as listener:
        accepting = threading.Thread(target=listener.serve_forever, name="accept", daemon=True)
        accepting.start()
        host = f"[{config.host}]" if ":" in config.host else config.host
        announce(f"listening on {host} port {listener.port}, files in {config.data}")
        # The kernel may give the signal to another thread, which wakes nobody here.
        while not signals and accepting.is_alive():
            time.sleep(_SIGNAL_POLL_SECONDS)
        if not signals:
            _log.error("no connection can be accepted any more")
        _log.info("stopping: running transfers have %g seconds", config.grace_seconds)
        asked = bool(signals)
        finished = listener.drain(lambda: len(signals) > asked)
        _log.log(
            logging.INFO if finished else logging.WARNING,
            "stopped" if finished else "stopped before every transfer had finished",
        )
    return 0 if asked else 1

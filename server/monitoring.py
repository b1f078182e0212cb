"""Health, readiness and Prometheus metrics over HTTP, on 127.0.0.1 alone, for who asks for them.

    /healthz   200 while connections are accepted or drained, else 503
    /readyz    200 while new clients are served, 503 in the drain or without the database
    /metrics   the metrics, in Prometheus' text format or as OpenMetrics

What requests come to is taken from the log's records of them, so that sessions need not know who
counts. The rest is looked at when it is asked for.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from server.config import Config
from server.errors import (
    ConfigurationError,
    ServerError,
    StorageError,
)
from server.listener import Listener
from server.repository import (
    Repository,
    RepositoryError,
    RepositoryUnavailable,
    UnknownClient,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LOOPBACK = "127.0.0.1"
_REQUEST_SECONDS = 5.0
_PROBE_SECONDS = 2.0
_ARRIVED = frozenset(("End", "Put", "ChecksumValid"))
_FAILURES = frozenset(
    error.__name__
    for error in (StorageError, RepositoryError, RepositoryUnavailable, UnknownClient)
)
"""Outcomes that are the server's fault; every other one that is not `ok` is a refusal."""


@contextmanager
def monitored(config: Config, listener: Listener) -> Iterator[int | None]:
    """Serves HTTP while the context lasts, where `metrics_port` is set; yields the port, or None.

    Raises `ConfigurationError` when the port or the package of the metrics cannot be had.
    """
    if config.metrics_port is None:
        yield None
        return
    counting = Counting()
    registry = counting.registry
    registry.register(Gauges(listener))
    readiness = Readiness(listener)
    try:
        server = _Server((_LOOPBACK, config.metrics_port), registry, readiness)
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve metrics on {_LOOPBACK} port {config.metrics_port}: {error.strerror}"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    requests = logging.getLogger("server.requests")
    level = requests.level
    requests.addHandler(counting)
    requests.setLevel(logging.INFO)  # what the log shows is its handler's decision
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        requests.removeHandler(counting)
        requests.setLevel(level)
        server.shutdown()
        server.server_close()
        thread.join()


class Counting(logging.Handler):
    """Counts what the records of requests tell."""

    def __init__(self) -> None:
        """Raises `ConfigurationError` without prometheus-client."""
        super().__init__(logging.INFO)
        try:
            from prometheus_client import CollectorRegistry, Counter, ProcessCollector
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "--metrics-port needs prometheus-client:"
                " pip install 'encrypted-file-transfer[metrics]'"
            ) from error
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"eft_{name}", text, labels, registry=self.registry)

        self._requests = counter("requests", "Requests answered", "protocol", "request")
        self._transfers = counter("transfers", "Files received or sent whole", "direction")
        self._bytes = counter("transferred_bytes", "Plain bytes of content", "direction")
        self._refusals = counter("refusals", "Requests that a client may not make", "reason")
        self._failures = counter("failures", "Requests that the server failed at", "kind")

    def emit(self, record: logging.LogRecord) -> None:
        """Counts one request."""
        told: dict[str, Any] = vars(record)
        request, outcome = str(told.get("request") or "none"), str(told.get("outcome"))
        protocol = "4" if told.get("generation") == "4" else "3"
        self._requests.labels(protocol, request).inc()
        if outcome in _FAILURES:
            self._failures.labels(outcome).inc()
        elif outcome != "ok":
            self._refusals.labels(outcome).inc()
        else:
            direction = "out" if request == "Get" else "in"
            if request in _ARRIVED or request == "Get":
                self._transfers.labels(direction).inc(int(told.get("files", 1)))
            if size := int(told.get("bytes", 0)):
                self._bytes.labels(direction).inc(size)


class Gauges:
    """What there is at the moment of being asked, as a collector of prometheus-client."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def collect(self) -> Iterator[Any]:
        """The metrics; those of a disk that cannot be looked at are left out."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        listener = self._listener
        storage = listener.doors.services4.receiver.storage
        refused = CounterMetricFamily(
            "eft_connections_refused", "Connections beyond the limits", labels=["limit"]
        )
        for limit, count in sorted(listener.refused.items()):
            refused.add_metric([limit], count)
        yield refused
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("connections", "Connections that are open", lambda: listener.connections),
            ("connections_limit", "Connections at once", lambda: listener.max_connections),
            ("draining", "Whether the server is ending", lambda: listener.draining),
            ("threads", "Threads of the process", threading.active_count),
            ("staging_bytes", "Bytes received and not published", storage.staged_bytes),
            ("free_bytes", "Bytes free on the disk of the files", storage.free_bytes),
        )
        for name, text, measure in gauges:
            try:
                yield GaugeMetricFamily(f"eft_{name}", text, value=float(measure()))
            except StorageError:
                continue


class Readiness:
    """Whether new clients are served, and if not, why."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._database = _Probe(listener.doors.services4.repository)

    def obstacle(self) -> str | None:
        """What stands in the way, None when nothing does."""
        if self._listener.draining:
            return "draining"
        if not self._listener.accepting:
            return "no connection is accepted"
        return self._database.obstacle()

    def alive(self) -> bool:
        """Whether the process does what it is there for, be it the drain."""
        return self._listener.draining or self._listener.accepting


class _Probe:
    """Asks the database something, one question at a time: where it does not answer, questions
    that nobody waits for any more must not pile up."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._answered: threading.Event | None = None
        self._obstacle: str | None = None

    def obstacle(self) -> str | None:
        with self._lock:
            answered = self._answered
            if answered is None:
                answered = self._answered = threading.Event()
                threading.Thread(
                    target=self._ask, args=(answered,), name="probe", daemon=True
                ).start()
        if not answered.wait(_PROBE_SECONDS):
            return "the database does not answer"
        return self._obstacle

    def _ask(self, answered: threading.Event) -> None:
        try:
            self._repository.find_client(bytes(16))
        except ServerError as error:
            self._obstacle = str(error)
        else:
            self._obstacle = None
        finally:  # whatever it was, the next one asks again
            with self._lock:
                self._answered = None
            answered.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], registry: "CollectorRegistry", readiness: Readiness
    ) -> None:
        self.registry = registry
        self.readiness = readiness
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as in the base
        """Who asks may hang up at any moment."""
        error = sys.exception()
        logging.getLogger(__name__).debug("a request for metrics failed: %s", error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _REQUEST_SECONDS
    server_version = "eft"
    sys_version = ""

    def do_GET(self) -> None:
        """Answers the three paths."""
        match self.path.partition("?")[0]:
            case "/metrics":
                from prometheus_client.exposition import choose_encoder

                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, encode(self.server.registry), kind)
            case "/healthz":
                self._tell(None if self.server.readiness.alive() else "not serving")
            case "/readyz":
                self._tell(self.server.readiness.obstacle())
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"/metrics, /healthz or /readyz\n")

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def _tell(self, obstacle: str | None) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if obstacle else HTTPStatus.OK
        self._answer(status, f"{obstacle or 'ok'}\n".encode())

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Whoever asks every few seconds is not to fill the log."""

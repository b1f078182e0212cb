"""Wall clocks that jump, forward and back, also across what expires."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from server.administration import create_token
from server.repository import open_repository
from tests.client.relay import self_signed
from tests.faults.aftermath import Watch
from tests.faults.clocks import Clock
from tests.faults.conftest import Place, Report, Tell
from tests.faults.injection import Injected
from tests.faults.lengths import tried
from tests.faults.ordeals import suffer
from tests.faults.processes import ClientProgram, restartable
from tests.faults.senders import four_senders
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.wire import RefusedError

_HOUR, _DAY, _YEAR = 3600, 86400, 365 * 86400
_JUMPS = (_HOUR, -_HOUR, 30 * _DAY, -30 * _DAY, 12 * _YEAR, -12 * _YEAR)


@pytest.mark.parametrize("times", tried(name="jumps", short=1, long=12))
def test_a_servers_clock_that_jumps_loses_nothing_and_stops_nobody(
    place: Place, tell: Tell, times: int, tmp_path: Path
) -> None:
    clock = Clock.right(tmp_path)
    jumps = list(_JUMPS) * (times // len(_JUMPS) + 1)

    @contextmanager
    def jumping(_watch: Watch) -> Iterator[Injected]:
        clock.jump(jumps.pop())
        yield Injected(1)

    with restartable(place.data, database_url=place.database_url, through=clock.through) as server:
        watch = Watch(server, four_senders(server.port))
        watch.warm_up()
        outcome = suffer(watch, jumping, times=times, seconds=0.3, reconnecting=True)
        assert outcome.failed == 0
        watch.server.stop()  # in another year than it started in
        watch.server.start()
        outcome.recovery.append(watch.serves_next(time.monotonic()))
        watch.remember()
        outcome.losses += watch.losses()
    fault = "server's clock jumps by an hour, 30 days or 12 years, forward and back"
    tell(watch, fault, outcome)


@pytest.mark.parametrize("times", tried(name="token", short=1, long=20))
def test_a_token_is_good_while_the_servers_clock_is_before_its_end(
    place: Place, report: Report, times: int, tmp_path: Path
) -> None:
    clock = Clock.right(tmp_path)
    with restartable(
        place.data,
        "--registration",
        "token",
        "--max-failed-attempts",
        "1000",
        database_url=place.database_url,
        through=clock.through,
    ) as server:
        for number in range(times):
            token = _new_token(server.database_url)
            clock.jump(2 * _HOUR)
            assert _register(server.port, f"late {number}", token) == wire.ACCESS_DENIED
            clock.jump(-_DAY)
            assert _register(server.port, f"early {number}", token) is None
            clock.jump(0)
            assert _register(server.port, f"again {number}", token) == wire.ACCESS_DENIED
    report(
        "server's clock jumps past a token's end, and back",
        database=place.shown,
        protocol="4",
        times=times,
        losses=[],
        recovery=[],
        note="refused past its end, good before, used up once",
    )


def _new_token(database_url: str) -> str:
    tokens: list[str] = []
    with closing(open_repository(database_url)) as repository:
        create_token(repository, tokens.append, name=None, seconds=_HOUR, max_name_bytes=255)
    return tokens[0]


def _register(port: int, name: str, token: str) -> int | None:
    """Why it was refused; None when it was not."""
    with Peer4(port, name) as peer:
        try:
            peer.register(token)
        except RefusedError as refused:
            return int(refused.reason)
    return None


@dataclass(frozen=True)
class Trusting:
    """How a client knows its server: options of both, and whether dates count."""

    server: tuple[str, ...]
    client: tuple[str, ...]
    dates_count: bool


def trusting(directory: Path, *, by_authority: bool) -> Trusting:
    """An authority's certificate of ten days, or the server's own, pinned."""
    pair = self_signed(directory / "pair")
    given = ("--certificate", str(pair.certificate), "--certificate-key", str(pair.key))
    if by_authority:
        return Trusting(given, ("--ca-file", str(pair.certificate)), dates_count=True)
    return Trusting(given, ("--fingerprint", pair.fingerprint), dates_count=False)


@pytest.mark.parametrize(
    ("by_authority", "fault", "times"),
    [
        *tried(False, "client's clock off, certificate pinned", name="pinned", short=1, long=20),
        *tried(True, "client's clock off, authority trusted", name="authority", short=1, long=20),
    ],
)
def test_a_clients_clock_beyond_the_certificates_end_stops_it_only_where_an_authority_is_trusted(
    tmp_path: Path, report: Report, by_authority: bool, fault: str, times: int
) -> None:
    clock, source = Clock.right(tmp_path), tmp_path / "source"
    trust = trusting(tmp_path, by_authority=by_authority)
    recovery = []
    with restartable(tmp_path / "data", *trust.server) as server:
        options = (*trust.client, "--retries", "0")
        right = ClientProgram(f"127.0.0.1:{server.port}", tmp_path / "state", options)
        wrong = replace(right, through=clock.through)
        right.run("register", "alice")
        for number in range(times):
            source.write_text(f"version {number}")
            clock.jump(30 * _YEAR if number % 2 == 0 else -30 * _YEAR)
            if trust.dates_count:
                assert "certificate" in wrong.fail("put", str(source))
            else:
                wrong.run("put", str(source))
            since = time.monotonic()
            right.run("put", str(source))
            recovery.append(time.monotonic() - since)
    report(
        f"{fault} (30 years)",
        database="SQLite",
        protocol="4",
        times=times,
        losses=[],
        recovery=recovery,
        note="refused with one line, then served" if by_authority else "served",
    )

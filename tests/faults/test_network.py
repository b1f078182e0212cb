"""A network that resets, swallows, stalls, dribbles, delays, loses and reorders what is sent."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest

from tests.faults.aftermath import Watch
from tests.faults.conftest import DATABASES, Place, Tell, make_place
from tests.faults.impairments import CLEAN, Impairments
from tests.faults.injection import Injected
from tests.faults.lengths import tried
from tests.faults.namespaces import APART, enter, inside, losing_packets, network_of
from tests.faults.ordeals import suffer
from tests.faults.packets import CLIENT_ADDRESS, EmulatedPath
from tests.faults.processes import restartable
from tests.faults.relay import Relay, relay_to
from tests.faults.senders import Sender, four_senders

_IMPATIENT = ("--idle-seconds", "1.5", "--read-seconds", "1.5")
"""A server that is not told of the end of a connection finds out after a while."""
_PATIENCE_SECONDS = 2.0
_ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module", params=list(DATABASES))
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Watch, Relay]]:
    """A server, and senders that reach it through a relay, once for each database."""
    place = make_place(request, tmp_path_factory.mktemp("network") / "data")
    with (
        restartable(place.data, *_IMPATIENT, database_url=place.database_url) as server,
        relay_to(server.port) as relay,
    ):
        senders = four_senders(relay.port)
        for sender in senders:
            sender.patience_seconds = _PATIENCE_SECONDS
        watch = Watch(server, senders)
        watch.warm_up()
        yield watch, relay


@contextmanager
def resets(relay: Relay) -> Iterator[Injected]:
    """Every connection is reset, in the middle of whatever it carries."""
    relay.interrupt(relay.reset_all)
    yield Injected(1)


@contextmanager
def silence(relay: Relay) -> Iterator[Injected]:
    """Nothing moves any more on any connection there is, and neither side is told."""
    relay.interrupt(relay.swallow_all)
    yield Injected(1)


@contextmanager
def stall(relay: Relay) -> Iterator[Injected]:
    """Nothing moves for a second."""
    relay.interrupt(partial(time.sleep, 1.0))
    yield Injected(1)


@contextmanager
def dribble(relay: Relay) -> Iterator[Injected]:
    """Every byte comes alone."""
    before = relay.piece_bytes
    relay.piece_bytes = 1
    try:
        yield Injected(1)
    finally:
        relay.piece_bytes = before


@contextmanager
def delay(relay: Relay) -> Iterator[Injected]:
    """Whatever clients send waits for 20 ms."""
    relay.delay_seconds = 0.02
    try:
        yield Injected(1)
    finally:
        relay.delay_seconds = 0.0


@pytest.mark.parametrize(
    ("fault", "cause", "times"),
    [
        *tried("reset", resets, name="reset", short=1, long=60),
        *tried("silent (half-open)", silence, name="silent", short=1, long=20),
        *tried("stalled for a second", stall, name="stalled", short=1, long=40),
        *tried("one byte at a time", dribble, name="dribble", short=1, long=40),
        *tried("delayed by 20 ms", delay, name="delayed", short=1, long=40),
    ],
)
def test_a_network_in_trouble_loses_nothing_that_was_acknowledged(
    network: tuple[Watch, Relay],
    tell: Tell,
    fault: str,
    cause: Callable[[Relay], AbstractContextManager[Injected]],
    times: int,
) -> None:
    watch, relay = network
    outcome = suffer(watch, lambda _watch: cause(relay), times=times, seconds=0.3)
    relay.restart()
    tell(watch, f"network {fault}", outcome)


@pytest.mark.parametrize("times", tried(name="address", short=1, long=40))
def test_a_client_whose_address_changes_goes_on_with_its_uploads(
    watch: Watch, tell: Tell, times: int
) -> None:
    @contextmanager
    def moving(watch: Watch) -> Iterator[Injected]:
        _set_sources(watch.senders, _ADDRESSES)
        try:
            yield Injected(1)
        finally:
            _set_sources(watch.senders, _ADDRESSES[:1])

    outcome = suffer(watch, moving, times=times, seconds=0.5, reconnecting=True)
    assert outcome.failed == 0
    assert outcome.acknowledged > 0
    tell(watch, "client's address changes with every connection", outcome)


def _set_sources(senders: list[Sender], sources: tuple[str, ...]) -> None:
    for sender in senders:
        sender.sources = sources


@pytest.mark.parametrize("times", tried(name="loss", short=1, long=20))
def test_a_network_that_loses_packets_loses_no_file(place: Place, tell: Tell, times: int) -> None:
    with (
        restartable(place.data, database_url=place.database_url, through=APART) as server,
        inside(network_of(server.pid)),
    ):
        watch = Watch(server, four_senders(server.port))
        watch.warm_up()
        outcome = suffer(
            watch,
            lambda watch: losing_packets(watch.server.pid, watch.server.port, 5),
            times=times,
            seconds=0.5,
            enter=partial(enter, network_of(server.pid)),
        )
    note = f"{outcome.struck:,} packets lost; {outcome.note}"
    tell(watch, "network loses 5% of all packets, both ways", outcome, note)


@pytest.mark.parametrize(
    ("fault", "impairments", "effects", "times"),
    [
        *tried(
            "delays packets by 5 to 30 ms, so that they overtake one another, both ways",
            Impairments(delay_seconds=0.005, jitter_seconds=0.025),
            ("delayed", "reordered"), name="reordering", short=1, long=20,
        ),
        *tried(
            "loses 3% of all packets, doubles 3%, damages 1%, delays by 2 to 15 ms, both ways",
            Impairments(0.002, 0.013, loss=0.03, duplication=0.03, corruption=0.01),
            ("delayed", "reordered", "lost", "duplicated", "corrupted"),
            name="impaired", short=1, long=20,
        ),
    ],
)  # fmt: skip
def test_a_network_that_mistreats_packets_loses_no_file_and_fails_no_client(
    place: Place,
    path: EmulatedPath,
    tell: Tell,
    fault: str,
    impairments: Impairments,
    effects: tuple[str, ...],
    times: int,
) -> None:
    with (
        restartable(place.data, database_url=place.database_url, through=path.through) as server,
        inside(path.client_network),
    ):
        senders = four_senders(server.port)
        _set_sources(senders, (CLIENT_ADDRESS,))
        watch = Watch(server, senders)
        watch.warm_up()
        outcome = suffer(
            watch,
            lambda _watch: path.impaired(impairments, *effects),
            times=times,
            seconds=1.0,
            enter=partial(enter, path.client_network),
        )
        counts = path.become(CLEAN)
    assert outcome.failed == 0
    seen = ", ".join(f"{getattr(counts, effect):,} {effect}" for effect in effects)
    tell(watch, f"network {fault}", outcome, f"packets {seen}; {outcome.note}")

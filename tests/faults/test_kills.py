"""Programs that are killed at random moments: nothing acknowledged is lost, nobody has to mend."""

import random
import time
from pathlib import Path

import pytest

from tests.faults.aftermath import Watch
from tests.faults.conftest import Place, Report, Watching
from tests.faults.lengths import tried
from tests.faults.programs import PROGRAMS, Program
from tests.faults.relay import relay_to
from tests.faults.senders import acknowledgements, sending
from tests.mariadb import MariaDB
from tests.server.hostile_surroundings import until

_LONGEST_SECONDS = 0.4


@pytest.mark.parametrize("times", tried(name="server", short=3, long=200))
def test_a_killed_server_has_lost_nothing_that_it_acknowledged(
    place: Place, watching: Watching, report: Report, times: int
) -> None:
    watch = watching(place)
    losses, recovery = [], []
    for _ in range(times):
        with sending(watch.senders, until_failure=True):
            in_full_swing(watch)
            watch.server.kill()
            since = time.monotonic()
        watch.server.start()
        losses += watch.losses()
        recovery.append(watch.serves_next(since))
        watch.remember()
    losses += watch.losses()
    set_aside = len(list((place.data / "orphans").glob("*/*")))
    promised = acknowledgements(watch.senders)
    report(
        "server killed while files are sent",
        database=place.shown,
        times=times,
        losses=losses,
        recovery=recovery,
        note=f"{promised:,} files acknowledged; {set_aside} unknown objects set aside",
    )


@pytest.mark.parametrize("times", tried(name="database", short=1, long=200))
def test_a_killed_database_server_has_lost_nothing_that_was_acknowledged(
    mariadb: MariaDB, tmp_path: Path, watching: Watching, report: Report, times: int
) -> None:
    place = Place(tmp_path / "data", "mariadb", mariadb.url(mariadb.new_database()))
    watch = watching(place)
    losses, recovery = [], []
    for _ in range(times):
        with sending(watch.senders, until_failure=False):
            in_full_swing(watch)
            mariadb.kill()
            since = time.monotonic()
            time.sleep(random.uniform(0, _LONGEST_SECONDS))
            mariadb.start()
        recovery.append(watch.serves_next(since))
        losses += watch.losses()
    report(
        "database server killed while files are sent",
        database=place.shown,
        times=times,
        losses=losses,
        recovery=recovery,
        note=f"{acknowledgements(watch.senders):,} files acknowledged",
    )


@pytest.mark.parametrize(
    ("program", "times"),
    [
        *tried(PROGRAMS["3"], name="client-protocol3", short=1, long=100),
        *tried(PROGRAMS["4"], name="client-protocol4", short=1, long=100),
    ],
)
def test_a_killed_client_has_lost_nothing_that_it_was_promised(
    place: Place,
    watching: Watching,
    report: Report,
    program: type[Program],
    times: int,
    tmp_path: Path,
) -> None:
    watch = watching(place)
    losses, recovery = [], []
    with relay_to(watch.server.port) as relay:
        client = program(tmp_path / "client", relay.address, watch.server.fingerprint)
        client.register()
        relay.restart()
        client.send_everything()
        undisturbed = relay.sent
        watch.remember()
        for _ in range(times):
            client.change_files()
            killed = client.start()
            relay.restart(random.randrange(1, undisturbed), killed.kill)
            output, _ = killed.communicate()
            losses += watch.losses()
            losses += client.losses(watch.stored, client.promised(output))
            since = time.monotonic()
            client.send_everything()
            recovery.append(time.monotonic() - since)
            losses += watch.losses()
            losses += client.losses(watch.stored, set(client.files))
    watch.serves_next(time.monotonic())
    losses += watch.losses()
    report(
        "client killed, and its command given again",
        database=place.shown,
        times=times,
        losses=losses,
        recovery=recovery,
        protocol=program.protocol,
    )


def in_full_swing(watch: Watch) -> None:
    """Waits until files are acknowledged, and a random while longer."""
    before = acknowledgements(watch.senders)
    until(lambda: acknowledgements(watch.senders) > before, "a file is acknowledged")
    time.sleep(random.uniform(0, _LONGEST_SECONDS))

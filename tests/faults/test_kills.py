"""Programs that are killed at random moments: nothing acknowledged is lost, nobody has to mend."""

import random
import time
from pathlib import Path

import pytest

from tests.faults.aftermath import Watch
from tests.faults.conftest import Report
from tests.faults.lengths import tried
from tests.faults.programs import PROGRAMS, Program
from tests.faults.relay import relay_to
from tests.faults.senders import acknowledgements, sending
from tests.mariadb import MariaDB

_LONGEST_SECONDS = 0.4


@pytest.mark.parametrize("times", tried(name="server", short=3, long=200))
def test_a_killed_server_has_lost_nothing_that_it_acknowledged(
    watch: Watch, report: Report, times: int
) -> None:
    promised, aside = acknowledgements(watch.senders), watch.set_aside()
    losses: list[str] = []
    recovery: list[float] = []
    for _ in range(times):
        with sending(watch.senders, until_failure=True):
            watch.wait_for_more(_LONGEST_SECONDS)
            watch.server.kill()
            since = time.monotonic()
        watch.server.start()
        losses += watch.losses()
        recovery.append(watch.serves_next(since))
        watch.remember()
    losses += watch.losses()
    report(
        "server killed while files are sent",
        database=watch.database,
        times=times,
        losses=losses,
        recovery=recovery,
        note=f"{acknowledgements(watch.senders) - promised:,} files acknowledged;"
        f" {watch.set_aside() - aside} unknown objects set aside",
    )


@pytest.mark.parametrize("watch", ["mariadb"], indirect=True)
@pytest.mark.parametrize("times", tried(name="database", short=1, long=200))
def test_a_killed_database_server_has_lost_nothing_that_was_acknowledged(
    watch: Watch, mariadb: MariaDB, report: Report, times: int
) -> None:
    promised = acknowledgements(watch.senders)
    losses: list[str] = []
    recovery: list[float] = []
    for _ in range(times):
        with sending(watch.senders):
            watch.wait_for_more(_LONGEST_SECONDS)
            mariadb.kill()
            since = time.monotonic()
            time.sleep(random.uniform(0, _LONGEST_SECONDS))
            mariadb.start()
        recovery.append(watch.serves_next(since))
        losses += watch.losses()
    report(
        "database server killed while files are sent",
        database=watch.database,
        times=times,
        losses=losses,
        recovery=recovery,
        note=f"{acknowledgements(watch.senders) - promised:,} files acknowledged",
    )


@pytest.mark.parametrize(
    ("program", "times"),
    [
        *tried(PROGRAMS["3"], name="client-protocol3", short=1, long=100),
        *tried(PROGRAMS["4"], name="client-protocol4", short=1, long=100),
    ],
)
def test_a_killed_client_has_lost_nothing_that_it_was_promised(
    watch: Watch,
    report: Report,
    program: type[Program],
    times: int,
    tmp_path: Path,
) -> None:
    losses: list[str] = []
    recovery: list[float] = []
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
        database=watch.database,
        times=times,
        losses=losses,
        recovery=recovery,
        protocol=program.protocol,
    )

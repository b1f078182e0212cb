"""An upload that was cut short at any byte goes on with what the server has not got.

How much is sent again. The server writes a segment once it has received and verified the whole of
it; what it has written survives its own death by SIGKILL, in the kernel's cache, and *begun* tells
the offset behind the last whole segment. (A power cut may take back what was not synced: that is
another test.) So of what a client has sent, no more may be lost than

- the segment that was under way: received in part, or received and not written yet; or the final
  one, which is always sent again; and
- what no server process had read: bytes in the buffers of sockets and in the network.

The bound that is asserted for every single position is therefore one segment and what was in flight
at that moment, which the relay measures. Bytes sent again are those of all connections together,
without what an undisturbed upload takes and without what it takes to open a connection.
"""

import hashlib
import random
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.faults.conftest import Report
from tests.faults.lengths import tried
from tests.faults.resuming import (
    NAME,
    Bench,
    Interruption,
    client_killed,
    network_reset,
    network_silent,
    server_killed,
    uploading,
)

SIZE = 64 * 2**20
_LAST_BYTES = 64
"""Less than what a client has still to send before it can have a receipt."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with uploading(tmp_path_factory.mktemp("resume"), SIZE) as bench:
        yield bench


@pytest.mark.parametrize(
    ("fault", "interrupt", "times"),
    [
        *tried("client killed", client_killed, name="client-killed", short=2, long=200),
        *tried("server killed", server_killed, name="server-killed", short=3, long=200),
        *tried("network path reset", network_reset, name="network-reset", short=2, long=200),
        *tried("network path silent", network_silent, name="network-silent", short=1, long=200),
    ],
)
def test_an_upload_cut_short_anywhere_sends_no_more_again_than_one_segment_and_what_was_in_flight(
    bench: Bench, fault: str, interrupt: Interruption, times: int, report: Report
) -> None:
    content = bench.source.read_bytes()
    again: list[int] = []
    recovery: list[float] = []
    most_in_flight = 0
    for _ in range(times):
        position = random.randrange(1, bench.undisturbed_bytes - _LAST_BYTES)
        interrupt(bench, position)
        recovery.append(time.monotonic() - bench.happened_at)
        sent_again, window = bench.sent_again(), bench.window(position)

        assert sent_again <= window, f"at byte {position}"
        assert bench.stored() == content
        body = bench.receipt().body
        assert (body.file_name, body.size) == (NAME, SIZE)
        assert body.sha256 == hashlib.sha256(content).digest()
        again.append(sent_again)
        most_in_flight = max(most_in_flight, bench.in_flight(position))
    report(
        fault,
        database="SQLite",
        protocol="4",
        times=times,
        losses=[],
        recovery=recovery,
        note=distribution(again, most_in_flight),
    )


def distribution(again: list[int], most_in_flight: int) -> str:
    """Bytes sent again, in KiB, as the table shows them."""
    in_order = sorted(size / 1024 for size in again)
    tenth = in_order[int(len(in_order) * 0.9)]
    return (
        f"sent again: median {statistics.median(in_order):.0f} KiB, 90% up to {tenth:.0f} KiB,"
        f" most {in_order[-1]:.0f} KiB; in flight: most {most_in_flight / 1024:.0f} KiB"
    )

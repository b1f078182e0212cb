"""What load runs measured: docs/reliability/load.json, and docs/reliability/load.md made from it.

`python -m tests.load.results` writes the document anew.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "reliability" / "load.json"
DOCUMENT = ROOT / "docs" / "reliability" / "load.md"

_TITLES = {
    "floods": (
        "Floods",
        "Each attack runs in a process of its own against a server process with its default"
        " settings. One honest client, from another address, goes on: it connects, stores a file of"
        " 4 KiB, fetches it back and compares it, again and again. Delays are those of connecting"
        " and storing together, before the attack and during it, median / longest. Server, attacker"
        " and honest client share two cores: much of the delay is the attacker's use of them. Where"
        " an attack takes all `max_connections` places with connections that never prove"
        " themselves, the honest client waits in the kernel's queue behind the attacker's next"
        " ones, and the oldest unproven connection makes room for each.",
    ),
    "connections": (
        "Connections",
        "Connections over TLS on which a client has proved who it is, held by load processes on the"
        " same machine.",
    ),
    "soak": (
        "Soak",
        "Mixed clients for as long as the row says: small files, large files there and back, a slow"
        " client, clients that die in the middle, protocol 3, and short attacks of every kind."
        " Failures are those among honest clients.",
    ),
}
_HEAD = """\
# Load

Measured by `make flood` and `make soak`; the figures are those of the latest run of each row.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: `cells` by the headings of their columns, in their order."""

    table: str
    name: str
    cells: dict[str, str]
    command: str


def read() -> list[Row]:
    """All rows."""
    if not RESULTS.exists():
        return []
    return [Row(**row) for row in json.loads(RESULTS.read_text())]


def record(row: Row) -> None:
    """Stores a row in place of the one that it measures anew, and writes the document."""
    rows = {(old.table, old.name): old for old in read()} | {(row.table, row.name): row}
    lines = ",\n".join(json.dumps(asdict(rows[key])) for key in sorted(rows))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    unfinished = RESULTS.with_suffix(".new")
    unfinished.write_text(f"[\n{lines}\n]\n")
    os.replace(unfinished, RESULTS)  # noqa: PTH105 - two runs may end at the same time
    DOCUMENT.write_text(document(read()))


def document(rows: list[Row]) -> str:
    """The document of these rows."""
    parts = [_HEAD]
    for table, (title, text) in _TITLES.items():
        found = [row for row in rows if row.table == table]
        parts.append(f"\n## {title}\n\n{text}\n")
        if found:
            parts.append("\n" + "".join(_lines(found)))
    return "".join(parts)


def _lines(rows: list[Row]) -> list[str]:
    headings = ["", *rows[0].cells, "command"]
    lines = [f"| {' | '.join(headings)} |\n", "|" + "---|" * len(headings) + "\n"]
    for row in rows:
        cells = [row.name, *row.cells.values(), f"`{row.command}`"]
        lines.append(f"| {' | '.join(cells)} |\n")
    return lines


if __name__ == "__main__":
    DOCUMENT.write_text(document(read()))

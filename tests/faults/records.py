"""What fault runs measured, one row for each fault, kept as JSON and shown as a table.

`make faults` sets `EFT_FAULT_RECORDS` to the file that keeps the rows; each run replaces the rows
that it measured anew. `python -m tests.faults.records` writes the tables of docs/reliability.md.
"""

import datetime
import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "docs" / "reliability.json"
DOCUMENT = ROOT / "docs" / "reliability.md"
VARIABLE = "EFT_FAULT_RECORDS"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. `losses` are acknowledged files that were lost or changed; `recovery` is
    the median and the longest time in seconds until the next client was served, where that was
    measured; `note` is what else was. `date` (ISO 8601) and `commit` tell when, and of what."""

    table: str
    fault: str
    database: str
    protocol: str
    times: int
    losses: int
    recovery: tuple[float, float] | None
    command: str
    date: str
    commit: str
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.table, self.fault, self.database, self.protocol

    def cells(self) -> tuple[str, ...]:
        """As the document shows it."""
        shown = "-" if self.recovery is None else "{:.1f} / {:.1f}".format(*self.recovery)
        return (
            self.fault, self.database, self.protocol, f"{self.times:,}", str(self.losses), shown,
            self.note, f"{self.date}, {self.commit}", f"`{self.command}`",
        )  # fmt: skip


def median_and_longest(seconds: Sequence[float]) -> tuple[float, float] | None:
    """As a row has them; None of none."""
    if not seconds:
        return None
    return round(statistics.median(seconds), 3), round(max(seconds), 3)


def today() -> str:
    """The day in ISO 8601, by the clock of this machine."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


@cache
def measured_commit(root: Path = ROOT) -> str:
    """The abbreviated commit of a working tree, with `-dirty` where something but documents, to
    which the runs themselves write, is not as it was committed; "unknown" outside of Git."""
    try:
        commit = _git(root, "rev-parse", "--short", "HEAD").strip()
        changed = _git(root, "status", "--porcelain", "--", ".", ":(exclude)docs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    ).stdout


def record(row: Row) -> None:
    """Keeps a row where the environment says so; does nothing without it."""
    where = os.environ.get(VARIABLE)
    if where:
        path = Path(where)
        rows = {old.key: old for old in read(path)} | {row.key: row}
        lines = [json.dumps(asdict(rows[key])) for key in sorted(rows)]
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def read(path: Path) -> list[Row]:
    """The rows in a file, none without it."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text())
    return [Row(**row | {"recovery": row["recovery"] and tuple(row["recovery"])}) for row in rows]


_HEAD = (
    "fault", "database", "protocol", "times", "losses", "recovery s", "measured", "measured on",
    "command",
)  # fmt: skip


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    yield "| " + " | ".join(_HEAD) + " |"
    yield "|" + "---|" * len(_HEAD)
    for row in rows:
        yield "| " + " | ".join(row.cells()) + " |"


def with_tables(document: str, rows: Sequence[Row]) -> str:
    """The document with each `<!-- table NAME -->` followed by the table of that name."""
    lines: list[str] = []
    passing_over = False
    for line in document.splitlines():
        if line.startswith("<!-- table "):
            name = line.removeprefix("<!-- table ").removesuffix(" -->")
            found = [row for row in rows if row.table == name]
            lines += [line, *(table(found) if found else ())]
            passing_over = True
        elif not (passing_over and line.startswith("|")):
            passing_over = False
            lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), read(RECORDS)))

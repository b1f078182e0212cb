"""What all runs have executed, as JSON, and the table in docs/reliability/fuzzing.md made from it.

`python -m tests.fuzz.results` writes the table anew.
"""

import json
from pathlib import Path
from typing import TypedDict

from tests.fuzz import corpus, target
from tests.fuzz.campaign import ROOT, Outcome

RESULTS = ROOT / "docs" / "reliability" / "fuzzing.json"
TABLE = ROOT / "docs" / "reliability" / "fuzzing.md"

_HEAD = """\
# Fuzzing

Coverage-guided (atheris, libFuzzer) with inputs that stand for messages and for whole
conversations; what each target asks for is in `tests/fuzz/targets/`. Counts are of all runs that
this file remembers. *Broken* counts the runs in which an input broke a promise and that are not
mended yet; what was found and mended is a regression test, or an input in `tests/fuzz/corpus/`
that every run of the tests replays.

Edges are the branches of the product's Python code that were reached.

| target | what is fuzzed | executions | hours | edges | kept inputs | broken |
|---|---|---:|---:|---:|---:|---:|
"""
_TAIL = """
Command of each row: `make fuzz TARGETS=name SECONDS=3600`; of all: `make fuzz`.
"""


class Row(TypedDict):
    """One target's count."""

    executions: int
    seconds: float
    edges: int
    broken: int


def read() -> dict[str, Row]:
    """The counts so far, by target."""
    if not RESULTS.exists():
        return {}
    rows: dict[str, Row] = json.loads(RESULTS.read_text())
    return rows


def added(rows: dict[str, Row], outcome: Outcome) -> dict[str, Row]:
    """The counts with one more run; one without a failure takes back the failures before it."""
    row = rows.get(outcome.name, Row(executions=0, seconds=0.0, edges=0, broken=0))
    new = Row(
        executions=row["executions"] + outcome.executions,
        seconds=round(row["seconds"] + outcome.seconds, 1),
        edges=max(row["edges"], outcome.edges),
        broken=row["broken"] + 1 if outcome.failure else 0,
    )
    return rows | {outcome.name: new}


def add(outcome: Outcome) -> None:
    """Adds one run to the stored counts."""
    write(added(read(), outcome))


def write(rows: dict[str, Row]) -> None:
    """Stores the counts and the table."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    TABLE.write_text(table(rows))


def table(rows: dict[str, Row]) -> str:
    """The document."""
    lines = [_line(name, row) for name, row in sorted(rows.items())]
    executions = sum(row["executions"] for row in rows.values())
    hours = sum(row["seconds"] for row in rows.values()) / 3600
    broken = sum(row["broken"] for row in rows.values())
    total = f"| **all** | | **{executions:,}** | **{hours:.1f}** | | | **{broken}** |\n"
    return _HEAD + "".join(lines) + total + _TAIL


def _line(name: str, row: Row) -> str:
    under_test = target.load(name).under_test
    return (
        f"| {name} | {under_test} | {row['executions']:,} | {row['seconds'] / 3600:.2f}"
        f" | {row['edges']:,} | {len(corpus.kept(name))} | {row['broken']} |\n"
    )


def main() -> None:
    """Writes the table."""
    written: Path = TABLE
    written.write_text(table(read()))


if __name__ == "__main__":
    main()

"""The tables of docs/protocol-4.md against the code."""

from pathlib import Path

from protocol.messages4 import REQUESTS, RESPONSES, Reason
from protocol.receipts import RECEIPT_MAGIC
from protocol.records import Record

DOCUMENT = (Path(__file__).parent.parent / "docs" / "protocol-4.md").read_text(encoding="utf-8")


def rows(first_column: str) -> list[list[str]]:
    """The rows of the table whose header begins with this column."""
    _, _, rest = DOCUMENT.partition(f"\n| {first_column} |")
    table = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def names(table: dict[int, type[Record]]) -> dict[int, str]:
    return {code: message.__name__.lower() for code, message in table.items()}


def test_the_codes_of_requests() -> None:
    assert {int(code): name for code, name, _ in rows("code | request")} == names(dict(REQUESTS))


def test_the_codes_of_responses() -> None:
    assert {int(code): name for code, name in rows("code | response")} == names(dict(RESPONSES))


def test_the_reasons_of_refusals_and_which_of_them_close() -> None:
    table = rows("reason")
    assert {int(number): name for number, name, _ in table} == {
        int(reason): reason.name.lower().replace("_", " ") for reason in Reason
    }
    closing = {int(number) for number, _, then in table if then.startswith("connection closed")}
    assert closing == {int(reason) for reason in Reason if reason.closes}


def test_the_receipt_is_as_long_as_its_magic_says() -> None:
    assert rows("field | size")[0] == [
        f"magic `{RECEIPT_MAGIC[:-1].decode()}` and a NUL",
        str(len(RECEIPT_MAGIC)),
    ]

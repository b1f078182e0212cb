"""The document about load says what was measured."""

from tests.load import results


def test_the_document_is_that_of_the_results() -> None:
    assert results.DOCUMENT.read_text() == results.document(results.read())


def test_a_row_is_shown_under_its_headings() -> None:
    row = results.Row("soak", "2 minutes", {"transfers": "5", "failures": "0"}, "make soak")
    shown = results.document([row])
    assert "| | transfers | failures | command |" in shown.replace("|  |", "| |")
    assert "| 2 minutes | 5 | 0 | `make soak` |" in shown

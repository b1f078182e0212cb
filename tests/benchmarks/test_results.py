"""Result files."""

from pathlib import Path

import pytest

from benchmarks import results
from tests.benchmarks.samples import discarded, failed, growth, one_file, result, run


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written = result(
        "1",
        one_file(run("ours", 1.5, extra={"again": 0.5}), discarded("scp", 2.0), failed("scp")),
        growth(run("ours", 1.0, x=4.0)),
    )
    path = tmp_path / "new" / "1.json"
    results.write(written, path)
    assert results.read(path) == written


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "case": "1"}'])
def test_any_other_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json is not a benchmark's result"):
        results.read(path)

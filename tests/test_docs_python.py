"""The example of docs/python.md, run as it stands against a real server."""

import hashlib
import re
from pathlib import Path

import pytest

from protocol.channel import format_fingerprint
from tests.server.running import running

_DOCUMENT = Path(__file__).parent.parent / "docs" / "python.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"```python\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    content = b"a report"
    (tmp_path / "report.pdf").write_bytes(content)
    with running(tmp_path / "data", registration="open") as server:
        example = found[1].replace("127.0.0.1:1234", f"127.0.0.1:{server.port}")
        fingerprint = format_fingerprint(server.listener.doors.certificate.current[1])
        exec(example, {"FINGERPRINT": fingerprint, "TOKEN": ""})  # noqa: S102 - our own document
    assert (tmp_path / "copy.pdf").read_bytes() == content
    shown = capsys.readouterr().out
    assert hashlib.sha256(content).hexdigest() in shown
    assert "it is there already" in shown

"""What is said when a command of the README's transfer does not work."""

import os
from pathlib import Path

import pytest

from tests.documents.transfer import TITLE, Failed, transfer


def said(tmp_path: Path, text: str) -> str:
    document = tmp_path / "README.md"
    document.write_text(text)
    with pytest.raises(Failed) as failed:
        transfer(document, tmp_path, os.environ, lambda _: None)
    return str(failed.value)


def test_the_line_of_a_failing_command_is_named(tmp_path: Path) -> None:
    text = f"# Title\n\n## {TITLE}\n\n```\ntrue\nls nowhere  # a comment\n```\n"
    message = said(tmp_path, text)
    assert message.startswith("README.md:7: ls nowhere: exit status 2: ls: ")
    assert "\n" not in message


def test_only_the_section_counts(tmp_path: Path) -> None:
    text = f"```\nfalse\n```\n## {TITLE}\n```\ntrue\n```\n## Next\n```\nfalse\n```\n"
    assert said(tmp_path, text).startswith("`python -m client ls -l` is not in the section")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Another\n", f"README.md: there is no heading '## {TITLE}'"),
        (f"## {TITLE}\n\nNothing.\n", f"README.md: there are no commands below '## {TITLE}'"),
    ],
)
def test_a_section_that_is_gone_is_a_failure(tmp_path: Path, text: str, message: str) -> None:
    assert said(tmp_path, text) == message


def test_a_promise_that_is_not_kept_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").touch()
    # What is typed here under the name of python lists nothing.
    text = f"## {TITLE}\n```\npython() {{ true; }}\npython -m client ls -l\n```\n"
    assert said(tmp_path, text) == "`ls -l` does not show 'docs/one.md' after `put docs`"

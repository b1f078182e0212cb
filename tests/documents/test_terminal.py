"""The terminal that the README's commands are typed into."""

import os
from pathlib import Path

import pytest

from tests.documents.terminal import GOES_ON, NoReply, Terminal


def test_a_command_shows_its_output_and_status(tmp_path: Path) -> None:
    with Terminal(tmp_path, os.environ) as terminal:
        assert terminal.run("echo one; (exit 3)", {}, 30) == (3, "one")
        assert terminal.run("pwd", {}, 30) == (0, str(tmp_path))


def test_a_question_is_answered(tmp_path: Path) -> None:
    with Terminal(tmp_path, os.environ) as terminal:
        command = "read -p 'Your name? ' name </dev/tty; echo Hello $name"
        answers = {r"Your (\w+)\? ": lambda match: f"the {match[1]}"}
        assert terminal.run(command, answers, 30)[1].endswith("Hello the name")


def test_a_command_that_asks_something_unforeseen_is_told_of(tmp_path: Path) -> None:
    with (
        Terminal(tmp_path, os.environ) as terminal,
        pytest.raises(NoReply, match="Are you sure"),
    ):
        terminal.run("read -p 'Are you sure? '", {}, 0.5)


def test_what_goes_on_is_interrupted_from_the_keyboard(tmp_path: Path) -> None:
    with Terminal(tmp_path, os.environ) as terminal:
        command = "trap 'exit 4' INT; echo ready; while :; do sleep 0.1; done"
        status, _ = terminal.run(f'bash -c "{command}"', {"ready": lambda _: None}, 30)
        assert status == GOES_ON
        assert terminal.interrupt(30)[0] == 4


def test_no_process_outlives_the_terminal(tmp_path: Path) -> None:
    with Terminal(tmp_path, os.environ) as terminal:
        terminal.run("sleep 600 & disown; nohup sleep 600 >/dev/null 2>&1 &", {}, 30)
        processes = terminal.processes()
        assert len(processes) == 3
    for process in processes:
        state = Path(f"/proc/{process}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"

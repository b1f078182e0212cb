"""transfer.info and the arguments that stand in for its lines."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.address import Address
from client.errors import ClientError
from client.plan import ListedFile, make_plan
from client.transfer_info import Line


def write(directory: Path, text: str) -> None:
    (directory / "transfer.info").write_text(text)


def test_transfer_info_alone_says_everything(tmp_path: Path) -> None:
    write(tmp_path, "[::1]:1234\n alice \na.txt\n/abs/b.txt\n")

    plan = make_plan(tmp_path)

    assert plan.server == Address("::1", 1234)
    assert plan.name == Line("alice", "transfer.info, line 2")
    assert plan.files == (
        ListedFile("a.txt", tmp_path / "a.txt", "transfer.info, line 3"),
        ListedFile("/abs/b.txt", Path("/abs/b.txt"), "transfer.info, line 4"),
    )


def test_arguments_replace_lines(tmp_path: Path) -> None:
    write(tmp_path, "[::1]:1234\nalice\na.txt\n")

    plan = make_plan(tmp_path, server="h:1", name="bob", files=["c.txt"])

    assert plan.server == Address("h", 1)
    assert plan.name == Line("bob", "--name")
    assert plan.files == (ListedFile("c.txt", Path("c.txt"), "FILE argument"),)


def test_a_line_that_is_replaced_is_not_judged(tmp_path: Path) -> None:
    write(tmp_path, "nonsense\nalice\na.txt\n")

    assert make_plan(tmp_path, server="h:1").server == Address("h", 1)


def test_complete_arguments_need_no_transfer_info(tmp_path: Path) -> None:
    (tmp_path / "transfer.info").mkdir()

    assert make_plan(tmp_path, server="h:1", name="bob", files=["c"]).name == Line("bob", "--name")


def test_without_transfer_info_the_name_may_be_left_to_me_info(tmp_path: Path) -> None:
    assert make_plan(tmp_path, server="h:1", files=["c.txt"]).name is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h\nalice\na\n", "transfer.info, line 1: 'h' has no port"),
        ("h:1\n\na\n", "transfer.info, line 2: the name is empty"),
        (f"h:1\n{'x' * 101}\na\n", "transfer.info, line 2: a name of 101 characters"),
        ("h:1\na\x07b\na\n", "transfer.info, line 2: the name 'a\\x07b' contains"),
        ("h:1\nalice\n", "transfer.info, line 3: empty or missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)

    with pytest.raises(ClientError) as caught:
        make_plan(tmp_path)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "transfer.info, line 1: no such file in"),
        ({"server": "h:1"}, "transfer.info, line 3: no such file in"),
        ({"server": "h", "name": "n", "files": ["f"]}, "--server: 'h' has no port"),
        ({"server": "h:1", "name": "", "files": ["f"]}, "--name: the name is empty"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as caught:
        make_plan(tmp_path, **arguments)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", [None, "h:1\nalice\n"])
def test_a_run_that_takes_no_files_points_to_the_command_that_does(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        write(tmp_path, text)

    with pytest.raises(ClientError, match=r", or name the files to the command `put`$"):
        make_plan(tmp_path)


@pytest.mark.parametrize(
    ("server", "remedy"),
    [(None, "use --server"), ("h:1", "use FILE arguments")],
)
def test_a_run_that_takes_files_points_to_its_own_arguments(
    tmp_path: Path, server: str | None, remedy: str
) -> None:
    with pytest.raises(ClientError) as caught:
        make_plan(tmp_path, takes_files=True, server=server)

    assert str(caught.value).endswith(f"; write one, or {remedy}")


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"--directory .*: no such directory"):
        make_plan(tmp_path / "missing")
    with pytest.raises(ClientError, match=r"--directory .*: File name too long"):
        make_plan(tmp_path / ("x" * 300))


@given(st.lists(st.text(max_size=120), max_size=5))
def test_any_transfer_info_gives_a_plan_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "transfer.info").write_bytes("\n".join(lines).encode())

    message = ""
    try:
        make_plan(directory)
    except ClientError as error:
        message = str(error)
    assert "\n" not in message

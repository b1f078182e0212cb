"""transfer.info in every shape it is found in."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import BadInput
from client.transfer_info import (
    MAX_TRANSFER_INFO_BYTES,
    Line,
    parse_transfer_info,
    read_transfer_info,
)


@pytest.mark.parametrize(
    "data",
    [
        b"127.0.0.1:1234\nalice\na.txt\ndir/b.txt\n",
        b"127.0.0.1:1234\nalice\na.txt\ndir/b.txt",
        b"127.0.0.1:1234\r\nalice\r\na.txt\r\ndir/b.txt\r\n",
        b"127.0.0.1:1234\ralice\ra.txt\rdir/b.txt\r",
        b"\xef\xbb\xbf127.0.0.1:1234\nalice\na.txt\ndir/b.txt\n",
        b"127.0.0.1:1234 \nalice\t\na.txt  \ndir/b.txt \n\n \n",
    ],
)
def test_line_ends_marks_and_trailing_blanks_do_not_matter(data: bytes) -> None:
    info = parse_transfer_info(data)

    assert info.server == Line("127.0.0.1:1234", "transfer.info, line 1")
    assert info.name == Line("alice", "transfer.info, line 2")
    assert [line.text for line in info.files] == ["a.txt", "dir/b.txt"]


def test_files_keep_their_line_numbers_across_empty_lines() -> None:
    info = parse_transfer_info(b"h:1\nalice\n\na.txt\n\nb.txt\n")

    assert [line.origin for line in info.files] == [
        "transfer.info, line 4",
        "transfer.info, line 6",
    ]


def test_missing_lines_are_empty_ones() -> None:
    info = parse_transfer_info(b"h:1")

    assert info.name == Line("", "transfer.info, line 2")
    assert info.files == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"h:1\nal\xffce\n", r"^transfer\.info, line 2: not UTF-8 text; save"),
        (b"h:1\nalice\na\0b", r"^transfer\.info, line 3: contains a NUL"),
        (bytes(MAX_TRANSFER_INFO_BYTES + 1), r"^transfer\.info: larger than"),
    ],
)
def test_what_is_not_text_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_transfer_info(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_lines_or_bad_input(data: bytes) -> None:
    try:
        info = parse_transfer_info(data)
    except BadInput:
        return
    assert all(line.text for line in info.files)


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_transfer_info(tmp_path) is None


def test_an_unreadable_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "transfer.info").mkdir()

    with pytest.raises(BadInput, match=r"transfer\.info: Is a directory; make it readable"):
        read_transfer_info(tmp_path)

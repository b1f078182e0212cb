"""Groups of small files: what fits one message, and what is left of them."""

from pathlib import Path

import pytest

from client.errors import FileUnusable
from client.smallfiles import Group
from protocol.header import MAX_PAYLOAD_BYTES
from protocol.messages4 import Policy, Put
from protocol.smallfiles import MOST_SMALL_FILES, SmallFile, unpack_files

PATH = Path("a")


def file(number: int, size: int = 1, name: str = "a") -> SmallFile:
    return SmallFile(bytes((number % 256,)) * 16, size, 0, 0, Policy.ALWAYS, bytes(32), name)


@pytest.mark.parametrize(
    ("size", "name"), [(0, "a"), (4096, "a" * 60), (100_000, "a"), (524_288, "a"), (1, "a" * 1000)]
)
def test_a_group_is_as_large_as_a_message_may_be(size: int, name: str) -> None:
    group = Group()
    count = 0
    while group.add(PATH, file(count, size, name), bytes(size)):
        count += 1
    assert 1 <= count == len(group.files) <= MOST_SMALL_FILES
    assert unpack_files(bytes(group.table)) == group.files
    sealed = bytes(len(group.content) + 16)
    put = Put(bytes(32), bytes(group.table), sealed)
    assert len(put.pack()) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("beyond", [{"modified": 2**63}, {"modified": -(2**63) - 1}, {"mode": -1}])
def test_a_file_that_the_protocol_cannot_tell_of_fails_alone(beyond: dict[str, int]) -> None:
    group = Group()
    with pytest.raises(FileUnusable, match="'a' cannot be sent"):
        group.add(PATH, file(1)._replace(**beyond), b"1")  # type: ignore[arg-type] # not a name
    assert group.add(PATH, file(2), b"2")
    assert group.files == [file(2)]


def test_files_that_are_answered_are_taken_out_of_a_group() -> None:
    group = Group()
    for number in range(5):
        assert group.add(PATH / str(number), file(number, number), bytes((number,)) * number)

    left = group.without({0, 2, 4})

    assert left.paths == [PATH / "1", PATH / "3"]
    assert left.files == [file(1, 1), file(3, 3)]
    assert unpack_files(bytes(left.table)) == left.files
    assert left.content == b"\1" + b"\3" * 3

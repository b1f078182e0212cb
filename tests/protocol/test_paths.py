"""File names of protocol 4 (section 5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import UnsafeName
from protocol.names import check_path
from tests.protocol import strategies4

EMOJI = "\U0001f600"
SAFE = [
    "a",
    "a/b",
    "a/b/c.txt",
    ".a",
    "..a",
    "a..",
    "...",
    "a/.../b",
    " a ",
    "a b/ c",
    "C:\\a",
    "CON",
    "a*?",
    "\u05e9\u05dc\u05d5\u05dd/\u00e9",
    EMOJI,
    "x" * 255,
    "\u05d0" * 127 + "x",
    "/".join(["x" * 255] * 4),  # 1,023 bytes
    "/".join(["x" * 255] * 3 + ["y" * 254, "z"]),  # 1,024 bytes
]
CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029"]
BIDIRECTIONAL = [
    "\u061c",
    *map(chr, range(0x200E, 0x2010)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
]
UNSAFE = [
    ("", "is empty"),
    ("/", "component ''"),
    ("/a", "component ''"),
    ("a/", "component ''"),
    ("a//b", "component ''"),
    (".", "component '.'"),
    ("..", "component '..'"),
    ("a/.", "component '.'"),
    ("./a", "component '.'"),
    ("a/../b", "component '..'"),
    ("../a", "component '..'"),
    ("\ud800", "is not UTF-8"),
    ("a/\udcff", "is not UTF-8"),
    ("x" * 256, "has a component of more than 255 bytes"),
    ("a/" + "\u05d0" * 128, "has a component of more than 255 bytes"),
    ("/".join(["x" * 255] * 3 + ["y" * 255, "z"]), "is 1025 bytes long, 1024 are allowed"),
    ("x" * 10000, "is 10000 bytes long, 1024 are allowed"),
    *((f"a{control}/b", "contains the control character") for control in CONTROLS),
    *((f"a/{control}b", "contains the control character") for control in BIDIRECTIONAL),
]


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_name_is_accepted(name: str) -> None:
    check_path(name)


@pytest.mark.parametrize(("name", "why"), UNSAFE)
def test_an_unsafe_name_is_refused_and_says_why(name: str, why: str) -> None:
    with pytest.raises(UnsafeName) as caught:
        check_path(name)
    assert why in str(caught.value)


@strategies4.many
@given(st.text(max_size=40) | st.text("./ax\\", max_size=12))
def test_an_accepted_name_never_leaves_the_place_that_it_is_joined_to(name: str) -> None:
    try:
        check_path(name)
    except UnsafeName:
        return
    components = name.split("/")
    assert not {"", ".", ".."} & set(components)
    assert "\0" not in name
    assert len(name.encode()) <= 1024

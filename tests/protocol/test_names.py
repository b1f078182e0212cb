"""The name field, and which names may be stored."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.errors import ProtocolError, UnsafeName
from protocol.names import NAME_BYTES, check_client_name, check_file_name, pack_name, unpack_name
from tests.protocol import strategies

HEBREW = "\u05e9\u05dc\u05d5\u05dd"
EMOJI = "\U0001f600"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # joined by zero-width joiners
SUPERSCRIPTS = "\u00b9\u00b2\u00b3"

GOLDEN = [
    ("", "00" * 255),
    ("a", "61" + "00" * 254),
    ("Alice", "416c696365" + "00" * 250),
    ("a/b\\c", "612f625c63" + "00" * 250),
    (HEBREW, "d7a9d79cd795d79d" + "00" * 247),
    (EMOJI, "f09f9880" + "00" * 251),
    ("\udce9t\udce9", "e974e9" + "00" * 252),  # Latin-1, not UTF-8
    ("x" * 254, "78" * 254 + "00"),
    ("x" * 255, "78" * 255),
    ("\u05d0" * 127 + "x", "d790" * 127 + "78"),
]

CONTROLS = [*map(chr, range(1, 0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029"]
BIDIRECTIONAL = [
    "\u061c",
    *map(chr, range(0x200E, 0x2010)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
]
NO_TEXT = [
    "",
    "\0",
    "a\0b",
    *(f"a{character}b" for character in CONTROLS + BIDIRECTIONAL),
    "\u202egpj.exe",
    "a\n",
    "\udc80",
    "caf\udce9.txt",
    "\ud800",
    "a\udfff",
    " ",
    " a",
    "a ",
    "\u00a0a",
    "a\u3000",
    "\u2003a",
    "x" * 256,
    "x" * 1000,
    "\u05d0" * 128,
    EMOJI * 64,
]
PLAIN = [
    "a",
    "A b",
    "a.txt",
    "no extension",
    "a..b",
    "a.b.c",
    ".hidden",
    "..a",
    "...a",
    "-rf",
    "--help",
    "~",
    "$HOME",
    "%PATH%",
    "a;b&c'd`e(f)[g]{h}!#@^+=,_",
    HEBREW,
    f"{HEBREW}.txt",
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "\u65e5\u672c\u8a9e.txt",
    EMOJI,
    FAMILY,
    f"{EMOJI}.png",
    "a\u00a0b",
    "\ue000",
    "x" * 255,
    "\u05d0" * 127 + "x",
    EMOJI * 63 + "xyz",
    "CO",
    "COM",
    "COMX",
    "COM10",
    "com11.txt",
    "COM\u2074",
    "LPT",
    "LPTX",
    "LPT\u2070",
    "CONSOLE",
    "xCON",
    "a.con",
    ".con",
    "CON-1",
    "con\u00a0.txt",
    "auxiliary.txt",
    "nullable",
    "printer",
    "CONIN",
    "CLOCK",
]
DEVICES = [
    "CON",
    "PRN",
    "AUX",
    "NUL",
    "CONIN$",
    "CONOUT$",
    "CLOCK$",
    *(f"COM{digit}" for digit in "0123456789" + SUPERSCRIPTS),
    *(f"LPT{digit}" for digit in "0123456789" + SUPERSCRIPTS),
]
DEVICE_SHAPES = ["{}", "{}.txt", "{}.tar.gz", "{} .txt", "{}  .txt", "{}..txt"]
NO_FILE = [
    "/",
    "/etc/passwd",
    "../x",
    "..\\x",
    "a/b",
    "a\\b",
    "\\\\server\\share",
    "C:\\x",
    "C:x",
    "a:stream",
    "a*",
    "a?",
    'a"b',
    "<a",
    "a>",
    "a|b",
    ".",
    "..",
    "...",
    "a.",
    "a..",
    "a .",
    "NUL.",
    "con.",
]


@pytest.mark.parametrize(("name", "golden"), GOLDEN)
def test_a_name_packs_to_these_bytes(name: str, golden: str) -> None:
    assert pack_name(name).hex() == golden


@pytest.mark.parametrize(("name", "golden"), GOLDEN)
def test_these_bytes_unpack_to_the_name(name: str, golden: str) -> None:
    assert unpack_name(bytes.fromhex(golden)) == name


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"a\0b", "a"),
        (b"\0abc", ""),
        (b"Alice\0\0\0\xcc\xfe\xab", "Alice"),
        (b"x" * 253 + b"\0y", "x" * 253),
        (b"x" * 254, "x" * 254),
        (b"../x\0", "../x"),
    ],
)
@pytest.mark.parametrize("rest", [b"\0", b"\xcc"])
def test_what_follows_the_first_nul_is_ignored(start: bytes, rest: bytes, name: str) -> None:
    field = (start + b"\0").ljust(255, rest)[:255]
    assert unpack_name(field) == name


def test_a_field_is_255_bytes() -> None:
    assert NAME_BYTES == 255


@strategies.some
@given(strategies.raw_names)
@example(b"\xff" * 255)
@example(b"\xed\xa0\x80")  # a surrogate, encoded as if that were allowed
@example(b"\xed\xb2\x80")
@example(b"\xc0\x80")
def test_bytes_of_any_name_survive(name: bytes) -> None:
    field = name.ljust(255, b"\0")
    assert pack_name(unpack_name(field)) == field


@strategies.some
@given(st.binary(min_size=255, max_size=255))
def test_every_field_of_255_bytes_holds_a_name(field: bytes) -> None:
    assert pack_name(unpack_name(field)).rstrip(b"\0") == field.split(b"\0")[0]


@strategies.some
@given(strategies.names)
def test_a_name_survives_its_field(name: str) -> None:
    assert unpack_name(pack_name(name)) == name


@pytest.mark.parametrize("size", [0, 1, 254, 256, 510])
def test_a_field_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(
        ProtocolError, match=rf"^name field of {size} bytes where 255 are expected$"
    ):
        unpack_name(b"a" * size)


@pytest.mark.parametrize(
    "name", ["x" * 256, "\u05d0" * 128, EMOJI * 64, "\udcff" * 256, "a\0b", "\0", "a\0"]
)
def test_a_name_that_the_field_cannot_carry_is_not_sent(name: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        pack_name(name)
    assert str(refusal.value) == f"the name {name!r} does not fit a field of 255 bytes"


@pytest.mark.parametrize(
    "name", [chr(0xD800), f"a{chr(0xDFFF)}", chr(0xDC7F), chr(0xD83D) + chr(0xDE00)]
)
def test_a_name_with_a_surrogate_that_is_no_byte_is_not_sent(name: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        pack_name(name)
    assert str(refusal.value) == f"the name {name!r} is not UTF-8"


@pytest.mark.parametrize("name", NO_TEXT, ids=ascii)
def test_what_does_not_print_plainly_is_no_clients_name(name: str) -> None:
    with pytest.raises(UnsafeName):
        check_client_name(name)


@pytest.mark.parametrize("name", NO_TEXT, ids=ascii)
def test_what_does_not_print_plainly_is_no_files_name(name: str) -> None:
    with pytest.raises(UnsafeName):
        check_file_name(name)


def test_a_name_that_is_refused_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError):
        check_file_name("..")


@pytest.mark.parametrize("name", NO_FILE, ids=ascii)
def test_a_name_that_is_not_one_plain_file_everywhere_is_refused(name: str) -> None:
    with pytest.raises(UnsafeName):
        check_file_name(name)


@pytest.mark.parametrize("shape", DEVICE_SHAPES)
@pytest.mark.parametrize("device", DEVICES, ids=ascii)
def test_a_device_of_windows_is_no_files_name(device: str, shape: str) -> None:
    for spelling in (device, device.lower(), device.title()):
        with pytest.raises(UnsafeName, match="device"):
            check_file_name(shape.format(spelling))


@pytest.mark.parametrize("name", PLAIN + NO_FILE + DEVICES, ids=ascii)
def test_a_client_may_have_any_name_that_prints_plainly(name: str) -> None:
    check_client_name(name)


@pytest.mark.parametrize("name", PLAIN, ids=ascii)
def test_a_plain_files_name_is_accepted(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "^the name is empty$"),
        ("a\udce9", r"^the name 'a\\udce9' is not UTF-8$"),
        ("\u05d0" * 128, "^the name is 256 bytes long, 255 are allowed$"),
        ("a\x1fb", r"^the name 'a\\x1fb' contains the control character '\\x1f'$"),
        ("a\u202eb", r"^the name 'a\\u202eb' contains the control character '\\u202e'$"),
        (" a", "^the name ' a' begins or ends with white space$"),
        ("a:b/c", "^the file name 'a:b/c' contains '/'$"),
        ("a.", r"^the file name 'a\.' ends with a dot$"),
        ("aux.c", r"^the file name 'aux\.c' is a device's name on Windows$"),
    ],
    ids=ascii,
)
def test_a_refusal_says_why(name: str, said: str) -> None:
    with pytest.raises(UnsafeName, match=said):
        check_file_name(name)


@strategies.many
@given(st.text(max_size=10))
def test_a_files_name_is_a_plain_piece_of_text(name: str) -> None:
    try:
        check_file_name(name)
    except UnsafeName:
        return
    check_client_name(name)
    assert not {"/", "\\", "\0"} & {*name}
    assert name not in {"", ".", ".."}


@strategies.some
@given(strategies.raw_names)
def test_what_is_not_utf_8_on_the_wire_is_refused(raw: bytes) -> None:
    raw = raw[:254] + b"\xff"
    with pytest.raises(UnsafeName):
        check_client_name(unpack_name(raw.ljust(255, b"\0")))

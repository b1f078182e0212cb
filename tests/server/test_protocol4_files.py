"""Looking at, fetching and changing files over protocol 4: one's own, by safe names only."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from server.storage import pass_over_page_cache
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.serving import Serving, reason, serving, until
from tests.peer4.wire import ALWAYS, NEVER, SEGMENT

BIG = os.urandom(3 * SEGMENT + 5)

UNSAFE_NAMES = {
    "upwards": "../x",
    "absolute": "/etc/passwd",
    "double slash": "a//b",
    "upwards inside": "a/../b",
    "upwards at the end": "a/..",
    "dot": ".",
    "dot dot": "..",
    "dot inside": "a/./b",
    "slash at the end": "a/",
    "empty": "",
    "line break": "a\nb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7f",
    "C1 control": "a\x85b",
    "line separator": "a\u2028b",
    "right to left": "a\u202egpj.exe",
    "isolate": "a\u2066b",
    "1025 bytes": "/".join(["d" * 204] * 5) + "e",
    "component of 256 bytes": "a/" + "c" * 256,
    "component of 256 bytes in 128 letters": "ä" * 128,
}
SAFE_NAMES = (
    "a",
    "...",
    ".hidden",
    "a b ",
    " a",
    "a/b/c",
    "C:\\x",
    "CON",
    "*?<>|\"'",
    "c" * 255,
    "/".join(["d" * 204] * 5),
    "Ä/ö/日本/🎈",
    "a\u0308",
    "%s%n%00",
    "'; DROP TABLE files; --",
)
# Not text at all: these break the protocol.
NO_TEXT = {
    "nul": b"a\0b",
    "surrogate": b"a\xed\xa0\x80",
    "half a letter": b"a\xc3",
    "overlong": b"\xc0\xae",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", max_failed_attempts=1000) as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()


@pytest.fixture
def everywhere(tmp_path: Path, database_url: str) -> Iterator[Peer4]:
    """A client of a server on each kind of database."""
    with serving(tmp_path / "data", database=database_url) as running, running.peer() as made:
        yield made.introduce()


# Listing


def test_a_listing_is_in_the_order_of_bytes_and_comes_in_pages(everywhere: Peer4) -> None:
    names = sorted((f"d/{n}" for n in (*range(30), "Z", "a", "ä", "🎈", "%", "_")), key=str.encode)
    for name in reversed(names):
        everywhere.put(name, name.encode())
    assert everywhere.names() == names
    more, page = everywhere.list_page(limit=7)
    assert (more, [entry.name for entry in page]) == (True, names[:7])
    more, page = everywhere.list_page(after=names[6], limit=len(names) - 7)
    assert (more, [entry.name for entry in page]) == (False, names[7:])
    more, page = everywhere.list_page(limit=1)
    assert (more, len(page)) == (True, 1)
    assert page[0].sha256 == wire.digest(names[0].encode())


@pytest.mark.parametrize(
    ("prefix", "after", "found"),
    [
        ("", "", ["a", "a%", "a/b", "a/c", "a_", "b", "ä"]),
        ("a", "", ["a", "a%", "a/b", "a/c", "a_"]),
        ("a/", "", ["a/b", "a/c"]),
        ("a/", "a/b", ["a/c"]),
        ("a/", "b", []),
        ("a%", "", ["a%"]),
        ("a_", "", ["a_"]),
        ("A", "", []),
        ("ä", "", ["ä"]),
        ("", "b", ["ä"]),
        ("", "a/bb", ["a/c", "a_", "b", "ä"]),
        ("\U0010ffff", "", []),
        ("x" * 5000, "", []),
        ("", "../../etc", ["a", "a%", "a/b", "a/c", "a_", "b", "ä"]),
    ],
)  # fmt: skip
def test_prefix_and_after_are_bytes_and_need_not_be_names(
    peer: Peer4, prefix: str, after: str, found: list[str]
) -> None:
    for name in ("a", "a/b", "a/c", "a%", "a_", "b", "ä"):
        peer.put(name, b"")
    assert [entry.name for entry in peer.list_page(prefix, after)[1]] == found


def test_a_page_of_long_names_fits_a_payload_and_says_that_there_is_more(peer: Peer4) -> None:
    names = [f"{n:03}" + "/".join(["d" * 200] * 5) for n in range(100)]
    for name in names:
        peer.send_put(name, b"")
    for _ in names:
        peer.stored()
    more, page = peer.list_page()
    assert more
    assert 1 <= len(page) < 100
    assert peer.names() == names


@pytest.mark.parametrize("limit", [0, 1001, 65535])
def test_a_limit_out_of_range_breaks_the_protocol(peer: Peer4, limit: int) -> None:
    assert reason(lambda: peer.list_page(limit=limit)) == wire.PROTOCOL
    assert peer.at_end()


# Fetching


def test_a_file_is_fetched_from_any_segment_on(everywhere: Peer4) -> None:
    for size in (0, 1, SEGMENT, SEGMENT + 1, len(BIG)):
        content = BIG[:size]
        everywhere.upload("f", content)
        assert everywhere.stat("f").size == size
        for offset in range(0, max(size, 1), SEGMENT):
            entry, got = everywhere.get("f", offset)
            assert got == content[offset:]
            assert entry == everywhere.stat("f")


def test_a_large_file_is_read_past_the_page_cache(
    peer: Peer4, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_over: list[BinaryIO] = []

    def passing_over(stream: BinaryIO) -> None:
        passed_over.append(stream)
        pass_over_page_cache(stream)

    peer.upload("large", BIG)
    peer.upload("small", BIG[:-5])
    monkeypatch.setattr("server.ownfiles._LARGE_BYTES", len(BIG))
    monkeypatch.setattr("server.ownfiles.pass_over_page_cache", passing_over)

    assert peer.get("small")[1] == BIG[:-5]
    assert not passed_over
    assert peer.get("large")[1] == BIG
    assert peer.get("large", SEGMENT)[1] == BIG[SEGMENT:]
    assert len(passed_over) == 2


def test_there_is_nothing_behind_a_files_end(peer: Peer4) -> None:
    for size, offset in ((0, SEGMENT), (1, SEGMENT), (SEGMENT, SEGMENT), (SEGMENT, 2**62)):
        peer.upload("f", BIG[:size])
        assert reason(lambda offset=offset: peer.get("f", offset)) == wire.NOT_FOUND  # type: ignore[misc]


@pytest.mark.parametrize("offset", [1, SEGMENT - 1, SEGMENT + 1, 2**63])
def test_an_offset_within_a_segment_breaks_the_protocol(peer: Peer4, offset: int) -> None:
    peer.upload("f", BIG)
    assert reason(lambda: peer.get("f", offset)) == wire.PROTOCOL


def test_a_download_is_sealed_under_the_salt_of_its_request(peer: Peer4) -> None:
    peer.upload("f", BIG[:100])
    salt = os.urandom(32)
    request_id = peer.send_get("f", salt)
    entry, _ = wire.read_entry(peer.expect(wire.ENTRY, request_id))
    sealed = peer.expect(wire.CONTENT, request_id)[9:]
    for key in (
        peer.key_of(entry.upload_id, os.urandom(32), wire.TO_CLIENT),
        peer.key_of(entry.upload_id, salt, wire.TO_SERVER),
        peer.key_of(os.urandom(16), salt, wire.TO_CLIENT),
    ):
        with pytest.raises(wire.NotAuthentic):
            wire.unseal(key, entry.upload_id, 0, sealed, final=True)
    key = peer.key_of(entry.upload_id, salt, wire.TO_CLIENT)
    assert wire.unseal(key, entry.upload_id, 0, sealed, final=True) == BIG[:100]


@pytest.mark.parametrize("change", ["replace", "remove", "rename"])
def test_what_happens_to_a_name_meanwhile_does_not_change_a_download(
    server: Serving, peer: Peer4, change: str
) -> None:
    content = os.urandom(40 * SEGMENT)
    peer.upload("f", content)
    with peer.again() as other:
        salt = os.urandom(32)
        request_id = peer.send_get("f", salt)
        entry, _ = wire.read_entry(peer.expect(wire.ENTRY, request_id))
        if change == "replace":
            other.put("f", b"newer")
        elif change == "remove":
            other.remove("f")
        else:
            other.rename("f", "g")
        assert peer.content(entry, salt, 0, request_id) == content
        if change == "replace":
            newer, got = peer.get("f")
            assert got == b"newer"
            assert newer.upload_id != entry.upload_id
    until(server.is_tidy, "the bytes of what no name leads to are gone")


def test_a_file_that_disappears_as_it_is_looked_up_is_told_in_order(
    server: Serving, peer: Peer4
) -> None:
    peer.put("f", b"x")
    (file,) = server.files()
    path = server.path(file)
    content = path.read_bytes()
    path.unlink()
    assert reason(lambda: peer.get("f")) == wire.SERVER_FAILED
    path.write_bytes(content[:0])  # shorter than the database says
    salt = os.urandom(32)
    request_id = peer.send_get("f", salt)
    peer.expect(wire.ENTRY, request_id)
    assert peer.refusal() == wire.SERVER_FAILED
    path.write_bytes(content)
    assert peer.get("f")[1] == b"x"


def test_a_file_replaced_between_its_look_up_and_its_opening_is_fetched_in_its_new_form(
    server: Serving, peer: Peer4, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.put("f", b"older")
    storage = type(server.listener.doors.services4.receiver.storage)
    real = storage.open
    with peer.again() as other:

        def late(*arguments: Any) -> Any:  # noqa: ANN401 - as the real one
            monkeypatch.setattr(storage, "open", real)
            other.put("f", b"newer")
            return real(*arguments)

        monkeypatch.setattr(storage, "open", late)
        assert peer.get("f")[1] == b"newer"


# Removing and renaming


def test_a_removed_file_is_gone_and_so_are_its_bytes(server: Serving, peer: Peer4) -> None:
    peer.put("f", b"x")
    peer.remove("f")
    for call in (peer.remove, peer.stat, peer.get):
        assert reason(lambda call=call: call("f")) == wire.NOT_FOUND  # type: ignore[misc]
    assert peer.names() == []
    assert server.is_tidy()
    assert server.objects() == set()


def test_a_renamed_file_keeps_everything_but_its_name(everywhere: Peer4) -> None:
    everywhere.put("old", b"x")
    everywhere.put("there", b"y")
    before = everywhere.stat("old")
    everywhere.rename("old", "new/name")
    after = everywhere.stat("new/name")
    assert after.name == "new/name"
    assert (after.upload_id, after.modified, after.sha256, after.received) == (
        before.upload_id, before.modified, before.sha256, before.received,
    )  # fmt: skip
    assert everywhere.names() == ["new/name", "there"]
    assert reason(lambda: everywhere.rename("new/name", "there")) == wire.EXISTS
    assert everywhere.get("there")[1] == b"y"
    everywhere.rename("new/name", "there", ALWAYS)
    assert everywhere.names() == ["there"]
    assert everywhere.get("there")[1] == b"x"
    for policy in (NEVER, ALWAYS):  # onto itself
        everywhere.rename("there", "there", policy)
        assert everywhere.get("there")[1] == b"x"
    assert reason(lambda: everywhere.rename("nope", "there", ALWAYS)) == wire.NOT_FOUND
    assert reason(lambda: everywhere.rename("nope", "nope")) == wire.NOT_FOUND
    assert everywhere.get("there")[1] == b"x"


def test_a_replaced_files_bytes_are_gone_after_a_renaming(server: Serving, peer: Peer4) -> None:
    peer.put("a", b"a")
    peer.put("b", b"b")
    peer.rename("a", "b", ALWAYS)
    assert server.stored() == {"b": b"a"}
    assert server.is_tidy()


@pytest.mark.parametrize("policy", [1, 3, 255])
def test_renaming_knows_two_policies(peer: Peer4, policy: int) -> None:
    peer.put("a", b"a")
    assert reason(lambda: peer.rename("a", "b", policy)) == wire.PROTOCOL


def test_another_clients_files_do_not_exist(server: Serving, peer: Peer4) -> None:
    peer.put("hers", b"secret")
    with server.peer("bob") as bob:
        bob.introduce()
        assert bob.names() == []
        for call in (
            lambda: bob.stat("hers"), lambda: bob.get("hers"), lambda: bob.remove("hers"),
            lambda: bob.rename("hers", "mine"), lambda: bob.rename("hers", "mine", ALWAYS),
        ):  # fmt: skip
            assert reason(call) == wire.NOT_FOUND
        bob.put("hers", b"bob's")
        bob.remove("hers")
    assert peer.get("hers")[1] == b"secret"


# Names


@pytest.mark.parametrize("what", UNSAFE_NAMES)
def test_an_unsafe_name_is_refused_everywhere_and_the_connection_goes_on(
    server: Serving, peer: Peer4, what: str
) -> None:
    name = UNSAFE_NAMES[what]
    peer.put("f", b"x")
    outside = set(server.data.parent.iterdir())
    for call in (
        lambda: peer.put(name, b"x"),
        lambda: peer.begin(os.urandom(16), bytes(32), name, 1),
        lambda: peer.stat(name),
        lambda: peer.get(name),
        lambda: peer.remove(name),
        lambda: peer.rename("f", name, ALWAYS),
        lambda: peer.rename(name, "g"),
    ):
        assert reason(call) == wire.UNSAFE_NAME
    assert peer.names() == ["f"]
    assert set(server.data.parent.iterdir()) == outside
    assert server.is_tidy()


@pytest.mark.parametrize("what", NO_TEXT)
def test_a_name_that_is_not_text_breaks_the_protocol(server: Serving, what: str) -> None:
    with server.peer() as owner:
        owner.introduce()
        name = NO_TEXT[what]
        for call in (
            lambda peer: peer.put(name, b"x"),
            lambda peer: peer.begin(os.urandom(16), bytes(32), name, 1),
            lambda peer: peer.stat(name),
            lambda peer: peer.get(name),
            lambda peer: peer.remove(name),
            lambda peer: peer.rename(name, "g"),
        ):
            with owner.again() as peer:
                assert reason(lambda peer=peer, call=call: call(peer)) == wire.PROTOCOL  # type: ignore[misc]
                assert peer.at_end()
        assert owner.names() == []


def test_every_safe_name_is_just_a_name(server: Serving, peer: Peer4) -> None:
    for name in SAFE_NAMES:
        peer.put(name, name.encode())
    assert peer.names() == sorted(SAFE_NAMES, key=str.encode)
    assert server.stored() == {name: name.encode() for name in SAFE_NAMES}
    for name in SAFE_NAMES:
        assert peer.get(name)[1] == name.encode()
        peer.remove(name)
    assert server.is_tidy()

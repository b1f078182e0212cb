"""me.info and priv.key in every shape they are found in, and how they are replaced."""

import base64
import contextlib
import errno
import stat
import textwrap
from pathlib import Path

import pytest
from Crypto.PublicKey import RSA
from hypothesis import given
from hypothesis import strategies as st

from client.errors import BadIdentity, ClientError, NotWritten
from client.identity import Identity, IdentityStore
from protocol.errors import UnsafeName
from protocol.names import check_client_name
from tests.client.test_private_files import failing

CLIENT_ID = bytes(range(16))


def base64_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


def write_identity(directory: Path, key: bytes, name: str = "alice") -> None:
    line = base64_of(key)
    (directory / "me.info").write_text(f"{name}\n{CLIENT_ID.hex()}\n{line}\n")
    (directory / "priv.key").write_text(f"{line}\n")


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_no_me_info_is_no_identity(tmp_path: Path, private_key: bytes) -> None:
    (tmp_path / "priv.key").write_text(base64_of(private_key))

    assert IdentityStore(tmp_path).load() is None


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("width", [64, 76, 4096])
@pytest.mark.parametrize("places", ["both", "me.info", "priv.key"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_accepted_shape_is_the_same_identity(
    tmp_path: Path, private_key: bytes, line_end: str, width: int, places: str, mark: str
) -> None:
    key_lines = textwrap.wrap(base64_of(private_key), width)
    lines = ["alice", CLIENT_ID.hex().upper(), *(key_lines if places != "priv.key" else [])]
    (tmp_path / "me.info").write_bytes((mark + line_end.join(lines) + line_end).encode())
    if places != "me.info":
        (tmp_path / "priv.key").write_bytes((mark + line_end.join(key_lines)).encode())

    identity = IdentityStore(tmp_path).load()

    assert identity == Identity("alice", CLIENT_ID, private_key)
    assert identity is not None
    assert identity.usable_key == private_key


def test_the_key_of_me_info_goes_before_that_of_priv_key(
    tmp_path: Path, private_key: bytes, other_key: bytes
) -> None:
    write_identity(tmp_path, private_key)
    (tmp_path / "priv.key").write_text(base64_of(other_key))

    identity = IdentityStore(tmp_path).load()

    assert identity is not None
    assert identity.private_key == private_key


def test_an_id_without_any_key_is_an_identity_without_one(tmp_path: Path) -> None:
    (tmp_path / "me.info").write_text(f"alice\n{CLIENT_ID.hex()}\n")

    identity = IdentityStore(tmp_path).load()

    assert identity == Identity("alice", CLIENT_ID, None)
    assert identity is not None
    with pytest.raises(BadIdentity, match=r"me\.info: the private key is missing"):
        _ = identity.usable_key


def test_a_shown_identity_does_not_show_the_key(private_key: bytes) -> None:
    assert repr(private_key)[2:40] not in repr(Identity("alice", CLIENT_ID, private_key))


CLIENT_ID_LINE = b"\n" + CLIENT_ID.hex().encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "me.info, line 1: the name is empty"),
        (b"alice\n", "me.info, line 2: not an id of 32 hex digits"),
        (b"alice\n" + b"a" * 31, "me.info, line 2: not an id of 32 hex digits"),
        (b"alice\n" + b"g" * 32, "me.info, line 2: not an id of 32 hex digits"),
        (b"alice" + CLIENT_ID_LINE + b"!!!!", "me.info, line 3: not a private RSA key"),
        (b"alice" + CLIENT_ID_LINE + b"AAAA", "me.info, line 3: not a private RSA key"),
        (b"\xff\xfe", "me.info: not UTF-8 text"),
        (b"a" * 70000, "me.info: larger than"),
    ],
)
def test_a_broken_me_info_is_refused_with_its_line_and_a_way_out(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "me.info").write_bytes(data)

    with pytest.raises(BadIdentity) as caught:
        IdentityStore(tmp_path).load()

    assert str(caught.value).startswith(message)
    assert "restore it from a copy, or move it away" in str(caught.value)


def test_a_cut_key_and_a_public_key_are_refused(tmp_path: Path, private_key: bytes) -> None:
    public_key = RSA.import_key(private_key).public_key().export_key("DER")
    for key in (private_key[:300], public_key):
        (tmp_path / "me.info").write_bytes(b"alice" + CLIENT_ID_LINE + base64.b64encode(key))

        with pytest.raises(BadIdentity, match="line 3: not a private RSA key"):
            IdentityStore(tmp_path).load()


def test_a_broken_priv_key_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "me.info").write_text(f"alice\n{CLIENT_ID.hex()}\n")
    (tmp_path / "priv.key").write_text("????")

    with pytest.raises(BadIdentity, match=r"^priv\.key: not a private RSA key"):
        IdentityStore(tmp_path).load()


def test_an_unreadable_me_info_is_refused(tmp_path: Path) -> None:
    (tmp_path / "me.info").mkdir()

    with pytest.raises(BadIdentity, match=r"^me\.info: Is a directory; make it readable"):
        IdentityStore(tmp_path).load()


@given(st.binary(max_size=200))
def test_any_me_info_is_an_identity_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "me.info").write_bytes(data)

    message = ""
    try:
        IdentityStore(directory).load()
    except ClientError as error:
        message = str(error)
    assert "\n" not in message


@given(st.text(min_size=1, max_size=80), st.binary(min_size=16, max_size=16))
def test_what_is_stored_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, private_key: bytes, name: str, client_id: bytes
) -> None:
    try:
        check_client_name(name)
    except UnsafeName:
        return
    store = IdentityStore(tmp_path_factory.mktemp("stored"))

    store.complete(store.begin(name, client_id, private_key))

    assert store.load() == Identity(name, client_id, private_key)


def test_a_registration_begun_leaves_the_old_identity_alone(
    tmp_path: Path, private_key: bytes, other_key: bytes
) -> None:
    write_identity(tmp_path, private_key)
    before = contents(tmp_path)
    store = IdentityStore(tmp_path)

    begun = store.begin("alice", bytes(16), other_key)

    assert store.load_unfinished() == begun
    assert before.items() <= contents(tmp_path).items()


def test_a_completed_registration_has_the_published_shape_and_mode(
    tmp_path: Path, private_key: bytes
) -> None:
    store = IdentityStore(tmp_path)

    store.complete(store.begin("alice", CLIENT_ID, private_key))

    line = base64_of(private_key)
    assert contents(tmp_path) == {
        "me.info": f"alice\n{CLIENT_ID.hex()}\n{line}\n",
        "priv.key": f"{line}\n",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_completed_registration_keeps_the_old_identity_aside(
    tmp_path: Path, private_key: bytes, other_key: bytes
) -> None:
    write_identity(tmp_path, private_key)
    before = contents(tmp_path)
    store = IdentityStore(tmp_path)

    store.complete(store.begin("alice", bytes(16), other_key))

    after = contents(tmp_path)
    assert after["me.info.old"] == before["me.info"]
    assert after["priv.key.old"] == before["priv.key"]
    assert store.load() == Identity("alice", bytes(16), other_key)


class PulledPlug(Exception):
    """Stands for the moment after which nothing runs any more."""


@pytest.mark.parametrize("calls_before", range(12))
@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "os.link"])
def test_a_crash_at_any_point_loses_neither_identity(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    private_key: bytes,
    other_key: bytes,
    step: str,
    calls_before: int,
) -> None:
    write_identity(tmp_path, private_key)
    store = IdentityStore(tmp_path)
    begun = store.begin("alice", bytes(16), other_key)
    module, name = step.split(".")
    original = getattr(__import__(module), name)
    calls = iter(range(calls_before))

    def crash_in_the_end(*arguments: object, **named: object) -> object:
        if next(calls, None) is None:
            raise PulledPlug
        return original(*arguments, **named)

    monkeypatch.setattr(step, crash_in_the_end)
    with contextlib.suppress(PulledPlug):
        store.complete(begun)
    monkeypatch.undo()

    unfinished = store.load_unfinished()
    if unfinished is None:
        assert store.load() == Identity("alice", bytes(16), other_key)
    else:
        assert unfinished.private_key == other_key
        store.complete(unfinished)
        assert store.load() == Identity("alice", bytes(16), other_key)
    kept = [text for path, text in contents(tmp_path).items() if path.startswith("priv.key.old")]
    assert f"{base64_of(private_key)}\n" in kept


def test_a_full_disk_is_told_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_key: bytes, other_key: bytes
) -> None:
    write_identity(tmp_path, private_key)
    before = contents(tmp_path)
    monkeypatch.setattr("os.fsync", failing(OSError(errno.ENOSPC, "No space left on device")))

    with pytest.raises(NotWritten, match=r"cannot be stored in .*: No space left on device"):
        IdentityStore(tmp_path).begin("alice", bytes(16), other_key)

    assert contents(tmp_path) == before


def test_a_directory_that_cannot_be_written_is_found_out_beforehand(tmp_path: Path) -> None:
    IdentityStore(tmp_path).check_writable()
    with pytest.raises(NotWritten):
        IdentityStore(tmp_path / "missing").check_writable()

"""Many small files in one *put*: each has a fate of its own, all share key and signature."""

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol.messages4 import Put
from server.errors import StorageError
from server.repository import (
    Action,
    Event,
    Publication,
    Published,
    Repository,
    RepositoryUnavailable,
    Sign,
)
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.serving import Serving, serving, until
from tests.peer4.wire import IF_OLDER, NEVER, Receipt, Small


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data") as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()


def small(name: str, content: bytes = b"content", **more: object) -> Small:
    return replace(Small(name, content, os.urandom(16)), **more)  # type: ignore[arg-type] # fields


def reasons(answers: list[Receipt | int]) -> list[int]:
    """For each file the reason of its refusal, 0 where it is stored."""
    return [0 if isinstance(answer, Receipt) else answer for answer in answers]


def test_each_file_of_a_put_has_an_outcome_of_its_own(server: Serving, peer: Peer4) -> None:
    peer.put("there", b"before", modified=100)
    known = small("known", b"known")
    (first,) = peer.put_together([known])
    answers = peer.put_together(
        [
            small("a", b""),
            small("../x"),
            small("there", policy=NEVER),
            small("there", policy=IF_OLDER, modified=100),
            small("lie", sha256=bytes(32)),
            small("x" * 256),
            known,
            small("b", b"bb"),
            small("a", b"last"),
        ]
    )
    assert reasons(answers) == [
        0, wire.UNSAFE_NAME, wire.EXISTS, wire.EXISTS, wire.DIGEST_MISMATCH, wire.UNSAFE_NAME,
        0, 0, 0,
    ]  # fmt: skip
    assert answers[6] == first
    new = [answers[place] for place in (0, 7, 8)]
    assert [(one.index, one.count, one.file_name) for one in new if isinstance(one, Receipt)] == [
        (0, 3, "a"),
        (1, 3, "b"),
        (2, 3, "a"),
    ]
    assert server.stored() == {"there": b"before", "known": b"known", "a": b"last", "b": b"bb"}
    until(server.is_tidy, "nothing else is kept")


def test_a_put_is_answered_alike_when_it_is_repeated(server: Serving, peer: Peer4) -> None:
    files = [small(f"f{number}", b"x" * number) for number in range(20)]
    first = peer.put_together(files)
    with peer.again() as again:
        assert again.put_together(files) == first
        assert again.put_together([*files, small("new")])[:-1] == first
    assert len(server.files()) == 21
    until(server.is_tidy, "nothing else is kept")


def test_no_signature_leaves_the_server_for_what_was_not_committed(
    server: Serving, peer: Peer4
) -> None:
    # A client knows all that a receipt says: a signature is all that it lacks to make one up.
    repository, files = server.repository, [small("a"), small("b")]
    publish = type(repository).publish

    def failing(_self: Repository, publications: Sequence[Publication], sign: Sign, _: Any) -> Any:  # noqa: ANN401 - never returns
        assert sign(publications)
        raise RepositoryUnavailable("the commit failed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(repository), "publish", failing)
        peer.send(wire.PUT, peer.put_payload(files))
        payload = peer.receive().payload
        peer.forget_put()
        assert payload[:72] == bytes(72)
        assert payload[72] == payload[72 + 9] == 2
    assert type(repository).publish is publish
    assert reasons(peer.put_together(files)) == [0, 0]


def test_an_attempt_at_a_commit_that_was_given_up_leaves_no_signature(
    server: Serving, peer: Peer4
) -> None:
    repository, files = server.repository, [small("a"), small("b")]
    publish = type(repository).publish

    def again(
        self: Repository, publications: Sequence[Publication], sign: Sign, event: Event
    ) -> list[Published]:
        assert sign(publications)  # of an attempt that the database undid
        return [*publish(self, publications[:1], sign, event), Published(None, refused=True)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(repository), "publish", again)
        first, second = peer.put_together(files)
    assert isinstance(first, Receipt)
    assert (first.index, first.count) == (0, 1)
    assert second == wire.EXISTS
    until(server.is_tidy, "nothing else is kept")


def test_one_id_twice_in_a_put_is_one_upload(server: Serving, peer: Peer4) -> None:
    file = small("f")
    first, second = peer.put_together([file, file])
    assert first == second
    assert server.stored() == {"f": b"content"}
    until(server.is_tidy, "nothing else is kept")


def test_a_put_of_the_most_files_and_bytes_is_stored(server: Serving, peer: Peer4) -> None:
    files = [small(f"f{number}", bytes(3900)) for number in range(256)]
    assert reasons(peer.put_together(files)) == [0] * 256
    files = [small("large", bytes(wire.SMALL)), small("larger", bytes(wire.SMALL))]
    assert reasons(peer.put_together(files)) == [0, 0]
    assert len(server.files()) == 258
    assert server.is_tidy()


def test_what_is_refused_does_not_keep_the_content_of_its_message(
    server: Serving, peer: Peer4, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An error leads to the frames that it came through, and they to a megabyte; thousands wait.
    small_files = server.listener.doors.services4.small_files
    client = server.repository.find_client_by_name("alice")
    assert client is not None
    peer.put("there", b"before")
    files = [small("../x"), small("lie", sha256=bytes(32)), small("there", policy=NEVER)]
    monkeypatch.setattr(small_files._uploads.storage, "place", _no_disk)
    secret = os.urandom(32)
    put = Put.unpack(wire.put(secret, client.id, [*files, small("new")]))
    arrived = small_files.take(1, client, put, secret)
    small_files.publish([arrived], Event(Action.UPLOAD))
    assert len(arrived.results) == 4
    for error in arrived.results:
        assert isinstance(error, Exception)
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def _no_disk(_client_id: bytes, _contents: object) -> list[StorageError | None]:
    try:
        raise OSError(errno.EIO, "Input/output error")
    except OSError as error:
        raise StorageError("cannot place a file") from error


def test_limits_are_kept_file_by_file(tmp_path: Path) -> None:
    limits = {"max_files_per_client": 3, "max_bytes_per_client": 300, "max_file_bytes": 200}
    with serving(tmp_path / "data", **limits) as server, server.peer() as peer:
        peer.introduce()
        assert reasons(peer.put_together([small("a", bytes(201)), small("b"), small("c")])) == [
            wire.TOO_LARGE, 0, 0,
        ]  # fmt: skip
        files = [small("d", bytes(100)), small("e"), small("f", bytes(190))]
        assert reasons(peer.put_together(files)) == [0, wire.QUOTA, wire.QUOTA]
        # one that replaces another needs no further name
        assert reasons(peer.put_together([small("b"), small("g")])) == [0, wire.QUOTA]
        assert sorted(peer.names()) == ["b", "c", "d"]
        until(server.is_tidy, "nothing else is kept")


@pytest.mark.parametrize("what", ["name", "size", "mode", "order", "digest", "id"])
def test_no_word_of_a_table_can_be_altered_without_the_tag_failing(
    server: Serving, peer: Peer4, what: str
) -> None:
    # TLS protects it too; but who merely ends TLS must not move content from one name to another.
    files = [small("a", b"one"), small("b", b"two")]
    payload = peer.put_payload(files)
    other = {
        "name": [replace(files[0], name="c"), files[1]],
        "size": [replace(files[0], content=b"on"), replace(files[1], content=b"etwo")],
        "mode": [replace(files[0], mode=0o777), files[1]],
        "order": files[::-1],
        "digest": [replace(files[0], sha256=bytes(32)), files[1]],
        "id": [replace(files[0], upload_id=bytes(16)), files[1]],
    }[what]
    table = b"".join(file.entry() for file in files)
    forged = b"".join(file.entry() for file in other)
    assert len(forged) == len(table)
    assert payload.count(table) == 1
    peer.send(wire.PUT, payload.replace(table, forged))
    assert peer.refusal() == wire.BAD_SEGMENT
    assert peer.at_end()
    assert server.files() == []


def test_a_put_recorded_on_one_connection_opens_on_no_other(server: Serving, peer: Peer4) -> None:
    payload = peer.put_payload([small("a"), small("b")])
    with peer.again() as other:
        other.send(wire.PUT, payload)
        assert other.refusal() == wire.BAD_SEGMENT
        assert other.at_end()
    assert server.files() == []


@pytest.mark.parametrize("more", [b"", b"x", b"xx" * 40])
def test_content_of_another_size_than_the_files_together_is_refused(
    server: Serving, peer: Peer4, more: bytes
) -> None:
    assert peer.client_id is not None
    file = small("a", b"xyz")
    payload = wire.put(peer.secret, peer.client_id, [file])
    longer = bytearray(payload)
    at = payload.index(file.upload_id) + 16
    longer[at : at + 4] = struct.pack("<I", 4 + len(more))
    peer.send(wire.PUT, bytes(longer))
    assert peer.refusal() == wire.PROTOCOL
    assert peer.at_end()
    assert server.files() == []


def test_thousands_of_files_are_stored_while_others_are_made_durable(
    server: Serving, peer: Peer4
) -> None:
    sent = []
    for number in range(24):
        files = [small(f"{number}/{one}", b"%d" % one) for one in range(200)]
        sent.append(peer.send(wire.PUT, peer.put_payload(files)))
    stat = peer.send(wire.STAT, wire.text("23/199"))
    for request_id in sent:
        response = peer.receive()
        assert (response.code, response.request_id) == (wire.OUTCOMES, request_id)
        assert response.payload[72:] == bytes(200)
        peer.forget_put()
    assert wire.read_entry(peer.expect(wire.ENTRY, stat))[0].size == 3
    assert len(server.files()) == 4800
    assert server.is_tidy()
    told = [name for each in server.repository.events() for name in each.subjects]
    assert sorted(told) == sorted(file.name for file in server.files())

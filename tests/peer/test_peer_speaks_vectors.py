"""`PeerClient` sends, byte for byte, what the recorded sessions say."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peer import client as peer
from tests.peer import crypto, wire
from tests.peer.client import PeerClient
from tests.peer.style import Packets, Style
from tests.vectors.load import SESSION_FILES, Session, load, load_private_key

TIMEOUT = 10.0


def _play(listener: socket.socket, session: Session, problems: list[str]) -> None:
    """The server's side of the session, once; what the client does otherwise is a problem."""
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(TIMEOUT)
        try:
            for number, message in enumerate(session.messages):
                if message.direction == "<":
                    sock.sendall(message.data)
                elif wire.read_exactly(sock, len(message.data)) != message.data:
                    problems.append(f"message {number}, {message.name}, is another")
                    return
            if sock.recv(1):
                problems.append("more than the session")
        except (OSError, EOFError) as error:
            problems.append(repr(error))


@contextmanager
def playing(session: Session) -> Iterator[int]:
    """A server that plays the session to one client; its port."""
    problems: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=_play, args=(listener, session, problems))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(TIMEOUT * 2)
    assert problems == []


def _style(session: Session) -> Style:
    if "own-ciphertexts" in session.path.stem:
        return Style(Packets.OWN_CIPHERTEXTS, packet_size=30)
    return Style(packet_size=32)


# Garbage is random: the sessions with it cannot be met byte for byte.
GARBAGE = {"e-deviations", "f-filled-slices"}
PLAYABLE = [path for path in SESSION_FILES if path.stem[6:] not in GARBAGE]


@pytest.mark.parametrize("path", PLAYABLE, ids=lambda path: path.stem)
def test_a_session(path: Path) -> None:
    session = load(path)
    known = session.messages[0].name == "reconnect"
    file_name = session.file_name if session.file_name is not None else b"never.sent"
    content = session.content if session.content is not None else b""
    with (
        playing(session) as port,
        PeerClient(
            port,
            session.generation,
            name=session.client_name,
            style=_style(session),
            client_id=session.client_id if known else None,
            private_key=crypto.load_private(load_private_key()),
        ) as client,
    ):
        if "refused" in session.path.stem:
            with pytest.raises(peer.RegistrationFailed):
                client.run(file_name, content)
        elif "fatal" in session.path.stem:
            with pytest.raises(peer.Fatal):
                client.run(file_name, content)
        else:
            assert client.run(file_name, content).verified is ("giving-up" not in session.path.stem)
    assert client.aes_key == session.aes_key
    assert bool(client.violations) is ("answered" in session.path.stem)

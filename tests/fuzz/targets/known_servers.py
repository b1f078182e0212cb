"""The file of known servers."""

from collections.abc import Iterable

from client.errors import BadState
from client.known_servers import KnownServers, _line
from tests.fuzz import scratch
from tests.fuzz.target import Target, must


def _run(data: bytes) -> None:
    path = scratch.directory("known") / "known_servers"
    path.touch(0o600)
    path.write_bytes(data)
    servers = KnownServers(path)
    try:
        known = servers.all()
    except BadState as error:
        must("\n" not in str(error), "an error is one line")
        return
    for one in known:
        must(one.fingerprint is None or len(one.fingerprint) == 32, "a fingerprint has 32 bytes")
        must(all(len(key) == 32 for key in one.receipt_keys), "a receipt key has 32 bytes")
    path.write_text("".join(f"{_line(one)}\n" for one in known), "utf-8")
    # A server whose name begins with the mark of a comment is a comment when it is written again.
    kept = tuple(one for one in known if not one.server.startswith("#"))
    must(servers.all() == kept, "what is read and written reads the same")


def _seeds() -> Iterable[bytes]:
    fingerprint = b"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    yield b"127.0.0.1:1234 " + fingerprint + b" -\n"
    yield b"# mine\n\n[::1]:1 CA " + key + b"," + key + b"\n"
    yield b"a:1 " + fingerprint[:-1] + b"= " + key
    yield b"\xff"


TARGET = Target("known_servers", "client/known_servers.py, state.py", _run, _seeds)

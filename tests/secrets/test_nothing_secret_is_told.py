"""No key, token, proof, secret or content of a file is in a log, an output or a file of others."""

import base64
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from Crypto.PublicKey import RSA

from tests.secrets.canaries import Found, files, forms, search
from tests.secrets.programs import Programs, private

CONTENT = b"canary of the content of a file: " + bytes(range(256))
FILES = {"small": CONTENT, "large": bytes(1 << 20) + CONTENT, "empty": b""}
FILE3 = b"canary of a file of protocol 3: " + bytes(range(255, 0, -1))
WRONG_TOKEN = "canary-of-a-token-that-is-wrong-and-is-43-ch"
TRACEBACK = b"Traceback"


def numbers(key: RSA.RsaKey) -> Iterable[bytes]:
    """What of a private key is secret; it is in every form in which a whole key is written."""
    for number in map(int, (key.d, key.p, key.q, key.u)):
        yield number.to_bytes((number.bit_length() + 7) // 8, "big")


def transfers4(programs: Programs) -> str:
    """Everything that a client does over protocol 4, and what it is refused; the token used."""
    directory = programs.directory
    source = directory / "source"
    source.mkdir()
    for name, content in FILES.items():
        (source / name).write_bytes(content)
    wrong, right = directory / "wrong-token", directory / "right-token"
    wrong.write_text(WRONG_TOKEN)
    token = programs.server_command("token", "create").split()[0]
    right.write_text(token)
    programs.client("state4", "register", "alice", "--token-file", str(wrong), status=4)
    programs.client("state4", "register", "alice", "--token-file", str(right))
    for command in (
        ("put", str(source)), ("put", "--overwrite", "never", str(source)), ("ls", "-l"),
        ("get", "source/large", str(directory / "copy")), ("whoami",), ("receipts", "verify"),
        ("mv", "source/small", "moved"), ("stat", "moved"), ("rm", "source/empty"),
    ):  # fmt: skip
        programs.client("state4", *command)
    programs.client("state4", "get", "nothing", str(directory / "copy2"), status=1)
    return token


def refusals4(programs: Programs) -> None:
    """A damaged identity, one with another's key, and a file whose bytes are gone."""
    directory = programs.directory
    for state in ("damaged", "foreign"):
        shutil.copytree(directory / "state4", directory / state)
    pem = next((directory / "damaged").glob("identities/*.pem"))
    pem.write_text(re.sub(r"(KEY-----\n.{30}).{8}", r"\1", pem.read_text()))
    programs.client("damaged", "whoami", status=2)
    foreign = next((directory / "foreign").glob("identities/*.pem"))
    head = foreign.read_text().partition("-----BEGIN")[0]
    vector = Path(__file__).parents[1] / "vectors" / "protocol4_client_key.pem"
    foreign.write_text(head + vector.read_text())
    programs.client("foreign", "whoami", status=4)
    for stored in programs.data.glob("?" * 32 + "/*"):
        stored.unlink()
    programs.client("state4", "--retries", "0", "get", "moved", str(directory / "x"), status=5)


def transfers3(programs: Programs) -> None:
    """Both kinds of generations, a second run, and an identity that is damaged."""
    source = programs.directory / "source3"
    source.write_bytes(FILE3)
    for generation in ("2023a", "2024c"):
        state = f"state3-{generation}"
        (programs.directory / state).mkdir()
        run = ("--generation", generation, "--name", f"bob {generation}", str(source))
        programs.client3(state, *run)
        programs.client3(state, *run)
    damaged = programs.directory / "damaged3"
    shutil.copytree(programs.directory / "state3-2023a", damaged)
    lines = (damaged / "me.info").read_text().splitlines()
    (damaged / "me.info").write_text("\n".join([*lines[:2], lines[2][:90] + "####"]))
    programs.client3("damaged3", "--name", "bob 2023a", str(source), status=2)


def client_keys(programs: Programs) -> Iterable[bytes]:
    for pem in programs.directory.glob("state4/identities/*.pem"):
        yield from numbers(RSA.import_key(pem.read_text().partition("-----BEGIN ")[2].join(
            ("-----BEGIN ", ""))))  # fmt: skip
    for info in programs.directory.glob("state3-*/me.info"):
        yield from numbers(RSA.import_key(base64.b64decode(info.read_text().splitlines()[2])))


def told_by(programs: Programs) -> dict[str, bytes]:
    """Outputs, logs, and every file but those whose very purpose is to hold a secret or content."""
    directory, data = programs.directory, programs.data
    holders = [
        *directory.glob("state4/identities/*.pem"), *directory.glob("foreign/identities/*.pem"),
        *directory.glob("damaged/identities/*.pem"), *directory.glob("*/me.info"),
        *directory.glob("*/priv.key"), data / "server.key", data / "receipt.key",
        data / "certificate.key",
    ]  # fmt: skip
    assert all(private(path) for path in holders if path.parent.name != "damaged3")
    contents = [
        *data.glob("?" * 32), *directory.glob("source*"), directory / "copy",
        directory / "wrong-token", directory / "right-token", directory / "secrets",
    ]  # fmt: skip
    return programs.said | files(directory, without=[*holders, *contents])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_neither_logs_nor_outputs_nor_other_files_tell_a_secret(
    tmp_path: Path, log_format: str
) -> None:
    programs = Programs(tmp_path, log_format)
    with programs.serving():
        token = transfers4(programs)
        transfers3(programs)
        refusals4(programs)
    key_files = [programs.data / name for name in ("server.key", "receipt.key")]
    used = programs.secrets()
    assert len(used) > 20, "the keys that were used are not known"
    secrets: dict[str, Iterable[bytes]] = {
        "token": [token.encode()],
        "wrong token": [WRONG_TOKEN.encode()],
        "database password": [programs.database_password.encode()],
        "key, secret or proof": used,
        "key of the server": [path.read_bytes() for path in key_files],
        "private key": [*client_keys(programs)],
        "content": [CONTENT[:33], CONTENT[100:140], FILE3[:32], FILE3[100:140]],
    }
    places = told_by(programs)
    assert len(places["the server's log"]) > 2000
    assert any(name.endswith("eft.sqlite3") for name in places)
    assert search(secrets, places) == set()
    assert not [name for name, text in places.items() if TRACEBACK in text]


@pytest.mark.parametrize("form", [form for form, _ in forms(bytes(range(200, 232)))])
def test_a_secret_is_found_in_every_form(form: str) -> None:
    secret = bytes(range(200, 232))
    told = dict(forms(secret))[form]
    found = search({"key": [secret]}, {"log": b"before " + told + b" after"})
    assert Found("key", form, "log") in found


@pytest.mark.parametrize("shift", range(6))
def test_a_secret_in_the_middle_of_something_in_base64_is_found(shift: int) -> None:
    secret = bytes(range(200, 232))
    whole = base64.b64encode(bytes(range(shift)) + secret + b"more")
    assert search({"key": [secret]}, {"log": whole})


def test_a_short_secret_is_not_searched_for_in_vain() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        search({"key": [b"abc"]}, {})

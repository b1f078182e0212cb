"""Every command line in README.md, docs/operations.md and docs/python.md does what it says.

What can run here is run, the rest is at least taken by the program that it is for.

The README's transfer has a check of its own, `make readme`; docs/python.md's example another.
"""

import argparse
import dataclasses
import hashlib
import json
import re
import shlex
import signal
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from client.commands.parser import COMMANDS
from client.commands.parser import make_parser as client_parser
from client.commands.parser import parse as parse_client
from client.commands.protocol3 import run_protocol_3
from client.errors import ExitStatus
from server import config as settings
from server.__main__ import main as server_main
from server.__main__ import make_parser as server_parser
from server.administration import show_fingerprint
from server.config import Config, parse_size
from server.repository import open_repository
from server.storage import DirectoryStorage
from tests.documents.commandlines import ROOT, Line, blocks, inline, section
from tests.documents.transfer import TITLE
from tests.mariadb import MariaDB
from tests.server.on_disk import cksum
from tests.server.repository import samples

DOCUMENTS = ("README.md", "docs/operations.md", "docs/python.md")
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
BLOCKS = [block for name in DOCUMENTS for block in blocks(TEXTS[name], name)]
FENCED = [line for block in BLOCKS if not block.language for line in block.lines]
INLINE = [line for name in DOCUMENTS for line in inline(TEXTS[name], name)]
TRANSFER = {
    line for block in section(TEXTS["README.md"], "README.md", TITLE) for line in block.lines
}
COMMAND = re.compile(r"(\w+=\S+ )*python -m |make ")
LINES = [line for line in FENCED + INLINE if line not in TRANSFER and COMMAND.match(line.text)]
OPERATORS_COMMANDS = {"fingerprint", "token", "clients", "files", "check", "audit", "backup"}
# Programs that are not ours, whose options are in the documents too.
FOREIGN_OPTIONS = {"--single-transaction", "--delete"}


def each(lines: list[Line]) -> pytest.MarkDecorator:
    """A test for each of the lines, without and with what stands in brackets."""
    variants = [
        (f"{line.document}:{line.number}", text) for line in lines for text in line.variants
    ]
    return pytest.mark.parametrize(
        "text", [text for _, text in variants], ids=[f"{at}: {text}" for at, text in variants]
    )


def program(line: Line) -> str:
    found = re.search(r"python -m (\w+)", line.text)
    return found[1] if found else line.text.split()[0]


def arguments(text: str) -> list[str]:
    """What stands behind `python -m server` or `python -m client`."""
    words = shlex.split(text)
    return words[words.index("-m") + 2 :]


def operates(line: Line) -> bool:
    """Whether it is a command of the server's operator, and not the server itself."""
    return program(line) == "server" and not OPERATORS_COMMANDS.isdisjoint(arguments(line.text))


def test_no_command_line_is_overlooked() -> None:
    assert set(FENCED) <= TRANSFER.union(LINES)
    assert len(LINES) > 25


@pytest.mark.parametrize("line", [line for line in LINES if program(line) == "make"], ids=str)
def test_what_make_is_told_is_run_by_ci(line: Line) -> None:
    assert line.text in (ROOT / ".ci" / "run").read_text().splitlines()


@each([line for line in LINES if program(line) == "server" and not operates(line)])
def test_a_server_takes_these_settings(text: str, tmp_path: Path) -> None:
    if "--help" in text:
        with pytest.raises(SystemExit) as ended:
            server_main(arguments(text))
        assert ended.value.code == 0
        return
    # The file that a line names is the one that the same document shows.
    file = tmp_path / "server.toml"
    file.write_text(shown_settings())
    words = arguments(text.replace("/etc/eft/server.toml", str(file)))
    flags = vars(server_parser().parse_args(words))
    environment = dict(re.findall(r"(EFT_\w+)=(\S+)", text))
    assert isinstance(settings.load(flags, environment), Config)


def shown(language: str) -> tuple[Line, ...]:
    """The lines of the only block in this language."""
    (block,) = [block for block in BLOCKS if block.language == language]
    return block.lines


def shown_settings() -> str:
    return "\n".join(line.text for line in shown("toml"))


def test_the_settings_file_that_is_shown_is_taken_whole() -> None:
    assert len(tomllib.loads(shown_settings())) > 5


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What a server keeps that has clients called NAME and CLIENT, each with a file NAME."""
    data = tmp_path / "data"
    config = Config(data=data)
    storage = DirectoryStorage(data)
    with closing(storage), closing(open_repository(config.database_url)) as repository:
        for name in ("NAME", "CLIENT"):
            client = samples.client(name)
            repository.add_client(client)
            file = samples.stored_file(client, "NAME", size=5, cksum=cksum(b"hello"))
            with closing(storage.stage(file.object_id)) as staged:
                staged.write(memoryview(b"hello"))
            storage.publish(client.id, file.object_id)
            repository.publish_file(file)
    show_fingerprint(config, lambda _: None)
    return data


def run_server(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    before = signal.getsignal(signal.SIGPIPE)
    try:
        status = server_main(words)
    finally:
        signal.signal(signal.SIGPIPE, before)  # the command let it end the process
    told = capsys.readouterr()
    assert (status, told.err) == (0, "")
    return told.out.splitlines()


@pytest.fixture
def prepared(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What stands for the placeholders of the documents."""
    (token,) = run_server(["--data", str(data), "token", "create"], capsys)
    run_server(["--data", str(data), "clients", "enable", "NAME"], capsys)  # leaves a trail
    return {
        "/srv/eft": str(data),
        "DIGEST-PREFIX": hashlib.sha256(token.encode()).hexdigest()[:16],
        "DIRECTORY": str(tmp_path / "directory"),
    }


@each([line for line in LINES if operates(line)])
def test_an_operators_command_works(
    text: str,
    prepared: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server.__main__._confirm", lambda _question: True)
    words = [prepared.get(word, word) for word in arguments(text)]
    if "--data" not in words:
        words[:0] = ["--data", prepared["/srv/eft"]]
    if words[-2:-1] == ["--name"] or ("create" in words and "NAME" in words):
        words[words.index("NAME")] = "newcomer"  # nobody can register under NAME any more
    if "--data DIRECTORY" in text:  # a backup, looked at as a server's data
        backup = ["--data", prepared["/srv/eft"], "backup", prepared["DIRECTORY"]]
        run_server(backup, capsys)
    lines = run_server(words, capsys)
    if "--json" in words:
        assert all(isinstance(json.loads(line), dict) for line in lines)
    assert lines


@each([line for line in LINES if program(line) == "client"])
def test_the_client_takes_these_arguments(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = arguments(text)
    if "--help" in words:
        with pytest.raises(SystemExit) as ended:
            parse_client(words)
        assert ended.value.code == 0
    elif "3" in words:
        monkeypatch.chdir(tmp_path)  # where there is no transfer.info, the next thing to miss
        assert run_protocol_3(words) is ExitStatus.BAD_INPUT
    else:
        assert callable(parse_client(words).run)


def test_the_commands_of_the_client_are_those_that_the_readme_names() -> None:
    (line,) = [line for line in INLINE if line.text.startswith("put get ")]
    assert set(line.text.split()) == COMMANDS


def known_options() -> set[str]:
    found: set[str] = set()
    parsers: list[argparse.ArgumentParser] = [server_parser(), client_parser()]
    while parsers:
        for action in parsers.pop()._actions:
            found |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    return found


def test_every_option_that_is_named_exists() -> None:
    named = {
        option: str(line)
        for line in FENCED + INLINE
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", line.text)
    }
    wrong = set(named) - known_options() - FOREIGN_OPTIONS
    assert not wrong, [named[option] for option in wrong]
    assert len(named) > 25


LIMITS = re.findall(
    r"^\| (`[^|]*`) \| ([^|]*) \| [^|]+ \|$", TEXTS["docs/operations.md"], re.MULTILINE
)


@pytest.mark.parametrize(("names", "defaults"), LIMITS)
def test_a_limit_has_the_default_that_is_documented(names: str, defaults: str) -> None:
    by_name = {setting.name: setting.default for setting in dataclasses.fields(Config)}
    for name, text in zip(re.findall(r"`(\w+)`", names), defaults.split(", "), strict=True):
        assert by_name[name] == number(text), name


def number(text: str) -> int:
    if text == "2^63 - 1":
        return 2**63 - 1
    return 0 if text == "none" else parse_size(text.replace(",", "").removesuffix("/s"))


def test_the_statements_for_a_database_make_one_that_serves(mariadb: MariaDB) -> None:
    statements = [line.text.rstrip(";") for line in shown("sql")]
    try:
        mariadb.run(*statements)
        url = f"mysql://eft@localhost/eft?unix_socket={mariadb.unix_socket}"
        with closing(open_repository(url, password="...")) as repository:
            assert not list(repository.clients())
    finally:
        mariadb.run("DROP USER eft@localhost", "DROP DATABASE eft")

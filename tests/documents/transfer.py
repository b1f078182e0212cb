"""The README's transfer, typed as a new user would type it.

Its commands are taken from the README and from nowhere else. Two things are not as a user has them.
The server is told by `EFT_PORT` to take a free port, and the address in the client's commands
follows, since another server may have 1234 on the machine that runs this; that 1234 is the default
is checked beforehand. And HOME is a directory that is thrown away.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from server.config import Config
from tests.documents.commandlines import Block, Line, section
from tests.documents.terminal import GOES_ON, NoReply, Terminal

TITLE = "A transfer in 60 seconds"
_SECONDS = 60.0
_INSTALL_SECONDS = 600.0  # `pip install .` where nothing is in its cache

_LISTENING = r"listening on \S+ port (\d+),"
_TRUST = r"\(yes/no/\[fingerprint\]\)\? "
_TOKEN_WANTED = r"Registration token [^\n]*: "
_TOKEN = re.compile(r"^[A-Za-z0-9_-]{43}$", re.MULTILINE)
_FINGERPRINT = re.compile(r"^certificate (SHA256:\S{43})$", re.MULTILINE)

Say = Callable[[str], None]


class Failed(Exception):
    """A line of the README does not do what it promises; the text names it."""


@dataclass(slots=True)
class _Typist:
    """Types the commands of one document, each block where a user would."""

    directory: Path
    environment: Mapping[str, str]
    say: Say
    terminals: list[Terminal] = field(default_factory=list)
    port: str = ""
    token: str = ""
    fingerprint: str = ""
    shown: dict[str, str] = field(default_factory=dict)
    serving: Line | None = None

    def type(self, blocks: Sequence[Block], stack: ExitStack) -> None:
        terminal = self._another(stack)
        for block in blocks:
            for line in block.lines:
                self.say(str(line))
                if self._run(terminal, line) == GOES_ON:
                    self.serving = line
                    terminal = self._another(stack)

    def _another(self, stack: ExitStack) -> Terminal:
        terminal = stack.enter_context(Terminal(self.directory, self.environment))
        self.terminals.append(terminal)
        return terminal

    def _run(self, terminal: Terminal, line: Line) -> int:
        text = line.text
        if self.port:
            text = text.replace(f"127.0.0.1:{Config().port}", f"127.0.0.1:{self.port}")
        seconds = _INSTALL_SECONDS if "pip install" in text else _SECONDS
        answers = {
            _LISTENING: self._note_port,
            _TRUST: lambda _: self.fingerprint,
            _TOKEN_WANTED: lambda _: self.token,
        }
        try:
            status, shown = terminal.run(text, answers, seconds)
        except NoReply as error:
            raise Failed(f"{line}: neither ends nor asks: {_last_line(str(error))}") from error
        if status > 0:
            raise Failed(f"{line}: exit status {status}: {_last_line(shown)}")
        if token := _TOKEN.search(shown):
            self.token = token[0]
        if fingerprint := _FINGERPRINT.search(shown):
            self.fingerprint = fingerprint[1]
        self.shown[line.text] = shown
        return status

    def _note_port(self, match: re.Match[str]) -> None:
        self.port = match[1]


def transfer(document: Path, directory: Path, environment: Mapping[str, str], say: Say) -> None:
    """Types the commands of the document's section in `directory` and checks what comes of them.

    Raises `Failed` and leaves no process behind.
    """
    try:
        blocks = section(document.read_text(), document.name, TITLE)
    except (OSError, LookupError) as error:
        raise Failed(str(error)) from error
    with ExitStack() as stack:
        typist = _Typist(directory, environment, say)
        typist.type(blocks, stack)
        _check(typist, directory)
        _stop(typist)


def _check(typist: _Typist, directory: Path) -> None:
    """What the commands promise beyond their exit statuses."""
    sent = sorted(
        str(path.relative_to(directory)) for path in directory.glob("docs/**/*") if path.is_file()
    )
    listed = _shown(typist, "python -m client ls -l")
    names = {line.rpartition(" ")[2] for line in listed.splitlines()}
    missing = [name for name in sent if name not in names]
    if missing:
        raise Failed(f"`ls -l` does not show {missing[0]!r} after `put docs`")
    verified = _shown(typist, "python -m client receipts verify")
    if verified.count(": good, ") != len(sent):
        raise Failed(f"`receipts verify` does not call {len(sent)} receipts good:\n{verified}")
    if not any(command.startswith("cmp ") for command in typist.shown):
        raise Failed("no command compares what was fetched with the original")


def _shown(typist: _Typist, command: str) -> str:
    if command not in typist.shown:
        raise Failed(f"`{command}` is not in the section any more: correct what is checked of it")
    return typist.shown[command]


def _stop(typist: _Typist) -> None:
    if typist.serving is None:
        raise Failed("no command starts a server that listens")
    try:
        status, shown = typist.terminals[0].interrupt(_SECONDS)
    except NoReply as error:
        raise Failed(f"{typist.serving}: Ctrl-C does not end it: {error}") from error
    if status:
        raise Failed(f"{typist.serving}: exit status {status} after Ctrl-C: {_last_line(shown)}")
    left = [pid for terminal in typist.terminals for pid in terminal.processes()]
    if len(left) != len(typist.terminals):
        raise Failed(f"processes are left behind beside the shells: {left}")


def run(root: Path, say: Say) -> None:
    """Does it in a fresh clone of the repository at `root`; raises `Failed`."""
    with tempfile.TemporaryDirectory(prefix="eft-readme-") as work:
        checkout, home = Path(work, "checkout"), Path(work, "home")
        home.mkdir()
        cloned = subprocess.run(
            ["git", "clone", "--quiet", str(root), str(checkout)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if cloned.returncode:
            raise Failed(f"git clone: {_last_line(cloned.stderr)}")
        _check_default_port(checkout / "README.md")
        transfer(checkout / "README.md", checkout, _environment(home), say)


def _check_default_port(document: Path) -> None:
    for block in section(document.read_text(), document.name, TITLE):
        for line in block.lines:
            for port in re.findall(r"127\.0\.0\.1:(\d+)", line.text):
                if int(port) != Config().port:
                    raise Failed(f"{line}: a server listens on {Config().port} by default")


def _environment(home: Path) -> dict[str, str]:
    """A new user's: no settings of ours, nothing of a virtual environment that is active."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EFT_", "XDG_", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS", "BASH"))
    }
    # pip's cache and settings are the machine's business, and lie in the home directory.
    user = Path.home()
    kept.setdefault("PIP_CACHE_DIR", str(user / ".cache" / "pip"))
    settings = [user / ".config" / "pip" / "pip.conf", user / ".pip" / "pip.conf"]
    for path in settings:
        if path.exists():
            kept.setdefault("PIP_CONFIG_FILE", str(path))
    return kept | {"HOME": str(home), "EFT_PORT": "0"}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "(it says nothing)"

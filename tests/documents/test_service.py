"""The unit for systemd: systemd takes it, it stays hardened, and the server takes its arguments."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from server import config as settings
from server.__main__ import make_parser
from tests.documents.commandlines import ROOT

UNIT = ROOT / "docs" / "eft-server.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_systemd
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # The program is not installed here, and systemd would complain about that alone.
    unit.write_text(UNIT.read_text().replace("/opt/eft/bin/eft-server", "/bin/true"))
    analyze("verify", "--man=no", str(unit))


@needs_systemd
def test_the_service_is_as_closed_as_the_documents_say() -> None:
    shown = analyze("security", "--offline=yes", "--no-pager", str(UNIT))
    rated = re.search(r"Overall exposure level for eft-server\.service: ([\d.]+)", shown)
    document = (ROOT / "docs" / "operations.md").read_text()
    promised = re.search(r"rates it ([\d.]+)", document)
    assert rated is not None
    assert promised is not None
    assert float(rated[1]) <= float(promised[1])


def test_the_server_takes_the_arguments_of_the_unit() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(command)
    assert program.endswith("/eft-server")
    flags = vars(make_parser().parse_args(arguments))
    assert flags.pop("config") == Path("/etc/eft/server.toml")
    assert settings.load(flags, {}).data == Path("/var/lib/eft")


def test_systemd_waits_for_the_drain() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert float(seconds) > settings.Config().grace_seconds

"""The server's TOML file, its environment, and port.info."""

import dataclasses
import math
from collections.abc import Iterable

from server.config import Config, load
from server.errors import ConfigurationError
from tests.fuzz import scratch
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must

_SETTINGS = [setting.name for setting in dataclasses.fields(Config)]
_TOML, _PORT, _ENVIRONMENT = 0, 1, 2


def _run(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.byte() % 3
    directory = scratch.directory("settings")
    flags: dict[str, object] = {}
    environment: dict[str, str] = {}
    if kind == _TOML:
        flags["config"] = directory / "server.toml"
        (directory / "server.toml").write_bytes(choices.rest())
    elif kind == _ENVIRONMENT:
        while choices.left:
            name = f"EFT_{choices.pick(_SETTINGS).upper()}"
            environment[name] = choices.some().decode("utf-8", "surrogateescape")
    (directory / "port.info").write_bytes(choices.rest() if kind == _PORT else b"1")
    warned: list[str] = []
    try:
        config = load(flags, environment, warned.append, (directory,))
    except ConfigurationError as error:
        must(kind != _PORT, "port.info never keeps a server from starting")
        must("\0" not in str(error), "an error can be printed")
        return
    _check(config)
    must(config.port or kind != _PORT, "port.info gives a real port")
    must(all("\n" not in line for line in warned), "a warning is one line")


def _check(config: Config) -> None:
    must(0 <= config.port <= 65535, "a port is a port")
    must(config.host.strip() and "\0" not in config.host, "there is a host to listen on")
    must(config.max_connections >= 1 and config.max_failed_attempts >= 1, "a limit lets one in")
    must(1 <= config.max_name_bytes <= 255, "names fit their field")
    for setting in dataclasses.fields(Config):
        value = getattr(config, setting.name)
        if isinstance(value, float):
            must(math.isfinite(value) and value >= 0, "a time is a number of seconds")
        elif isinstance(value, int):
            must(0 <= value < 2**63, "a limit is a number that fits")
    must(isinstance(config.loopback, bool), "it shows whether others can reach it")
    must(config.database or "\n" not in config.database_url, "the default database has a URL")


def _seeds() -> Iterable[bytes]:
    yield b"\0" + b'host = "10.0.0.5"\nport = 1\nmax_bytes_per_client = "20 GiB"\n'
    yield b"\0" + b"allow-protocol-3 = true\nallow_protocol_3 = false\nidle_seconds = 1e3\n"
    yield b"\0" + b"[a]\nb = [1, {c = 2}]\n" + b"x = " + b"[" * 200
    yield b"\0" + b"port = 0x" + b"f" * 40 + b"\nban_seconds = nan\n"
    yield b"\0" + b'\xef\xbb\xbfdata = "~nobody-there/x"\nhost = "\\u0000"'
    yield b"\1" + b"1256\n"
    yield b"\1" + b" 65536"
    yield b"\1" + b"\xff\xfe" + b"1" * 70
    for number, name in enumerate(_SETTINGS):
        text = {"host": b"::1", "registration": b"open", "data": b"/srv/%#x"}.get(name, b"12")
        yield b"\2" + bytes((number, len(text))) + text
        yield b"\2" + bytes((number, 3)) + b"1e9" + bytes((number, 4)) + b"9g\xff "


TARGET = Target("server_settings", "server/config.py (TOML, environment, port.info)", _run, _seeds)

"""Every setting of the server, once: flag, environment variable, TOML key, default and check.

Precedence: flags, then environment (`EFT_` and the field's name in capitals), then the TOML file,
then, for the port alone, `port.info`, then the defaults.
"""

import argparse
import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.generations import GENERATION_2023A
from protocol.names import NAME_BYTES
from server.errors import ConfigurationError
from server.privatefiles import check_private

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+) ?(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE | re.ASCII)
_URL_SYNTAX = re.compile(r"[%#?\t\r\n]")  # what a URL's path does not hold as it is
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_MAX_SECONDS = 10 * 365 * 86400.0
_MAX_BYTES = 2**63 - 1
_MAX_PORT_FILE_BYTES = 64


def parse_size(text: str) -> int:
    """Bytes from `1048576`, `1024k`, `1 MiB` or `1m`: units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(match[1]) > len(str(_MAX_BYTES)):
        raise ValueError("a size such as 1048576, 512k, 100 MiB or 2g")
    size = int(match[1]) * _UNITS[(match[2] or "").lower()]
    if size > _MAX_BYTES:
        raise ValueError(f"at most {_MAX_BYTES} bytes")
    return size


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\s*\d{1,19}\s*", text, re.ASCII):
            raise ValueError(f"a whole number from {lowest} to {highest}")
        number = int(text)
        if not lowest <= number <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return number

    return parse


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= _MAX_SECONDS:  # also refuses "nan" and "inf"
        raise ValueError("a number of seconds, 0 or more")
    return number


def _patience(text: str) -> float:
    number = _seconds(text)
    if not number:
        raise ValueError("a number of seconds above 0")
    return number


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _TRUE + _FALSE:
        raise ValueError("true or false")
    return lowered in _TRUE


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return parse


def _text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("a text that is not empty")
    return text


def _host(text: str) -> str:
    try:
        _text(text).encode("idna")  # as the socket functions will
    except UnicodeError as error:
        raise ValueError("an address or host name") from error
    return text


def _path(text: str) -> Path:
    try:
        return Path(_text(text)).expanduser()
    except RuntimeError as error:  # ~name of nobody
        raise ValueError("a path in a known home directory") from error


def _setting(default: object, parse: Callable[[str], object], text: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"parse": parse, "help": text})


_port = _integer(0, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The server's settings; sizes are in bytes, times in seconds."""

    host: str = _setting("127.0.0.1", _host, "address or host name to listen on")
    port: int = _setting(GENERATION_2023A.default_port, _port, "TCP port; 0 takes a free one")
    data: Path = _setting(Path("eft-data"), _path, "directory that holds the files")
    database: str | None = _setting(
        None,
        _text,
        "sqlite:///PATH or mysql://USER@HOST/DB (default: SQLite in the data directory)",
    )
    database_password_file: Path | None = _setting(
        None, _path, "file with the database password (or set EFT_DATABASE_PASSWORD)"
    )
    generation_1025: str = _setting(
        "2024a", _choice("2023b", "2024a"), "generation that answers request codes 1025 to 1031"
    )
    registration: str = _setting(
        "token", _choice("open", "token", "closed"), "who may register over protocol 4"
    )
    certificate: Path | None = _setting(
        None, _path, "certificate chain in PEM (default: one of its own, made on the first start)"
    )
    certificate_key: Path | None = _setting(
        None, _path, "private key of the certificate, in PEM, mode 0600"
    )
    allow_protocol_3: bool = _setting(
        False, _boolean, "serve protocol 3 on an address that is not loopback"
    )
    reuse_keys_seconds: float = _setting(
        0.0,
        _seconds,
        "serve clients that open a connection for every request: an AES key stays valid this long"
        " for its client id and address (weakens protocol 3, see docs/threat-model.md)",
    )
    max_connections: int = _setting(1000, _integer(1, 1_000_000), "connections at once")
    max_connections_per_address: int = _setting(
        256, _integer(1, 1_000_000), "connections at once from one address"
    )
    max_file_bytes: int = _setting(
        2**63 - 1,
        parse_size,
        "largest file accepted; with protocol 3 as ciphertext, up to 16 bytes more",
    )
    max_name_bytes: int = _setting(NAME_BYTES, _integer(1, NAME_BYTES), "longest name accepted")
    max_files_per_client: int = _setting(
        100_000, _integer(1, 2**62), "files that a client may keep"
    )
    max_bytes_per_client: int = _setting(100 * 2**30, parse_size, "bytes that a client may keep")
    min_free_bytes: int = _setting(512 * 2**20, parse_size, "disk space that is never used")
    idle_seconds: float = _setting(120.0, _patience, "wait for a client's next request")
    read_seconds: float = _setting(30.0, _patience, "wait for the next bytes within a request")
    request_seconds: float = _setting(
        60.0, _patience, "time for a whole request, beside what its size allows at the least rate"
    )
    min_rate: int = _setting(
        16 * 2**10, parse_size, "least rate of a request in bytes per second; 0 sets no deadline"
    )
    handshake_seconds: float = _setting(
        10.0, _patience, "time for TLS and for the proof of a protocol-4 client"
    )
    max_failed_attempts: int = _setting(
        10, _integer(1, 1_000_000), "failed proofs or registrations before an address is banned"
    )
    ban_seconds: float = _setting(300.0, _seconds, "how long failed attempts are remembered")
    max_rate_per_client: int = _setting(
        0, parse_size, "bytes per second of each protocol-4 client; 0 sets no limit"
    )
    upload_days: float = _setting(
        7.0, _seconds, "days that interrupted uploads and the means to repeat a receipt are kept"
    )
    grace_seconds: float = _setting(
        30.0, _seconds, "time that running transfers have to finish after SIGTERM or SIGINT"
    )
    metrics_port: int | None = _setting(
        None, _port, "port on 127.0.0.1 for /metrics, /healthz and /readyz; 0 takes a free one"
    )
    log_format: str = _setting("plain", _choice("plain", "json"), "form of the log on stderr")
    log_level: str = _setting(
        "info", _choice("debug", "info", "warning", "error"), "least severity that is logged"
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the listening address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def serves_protocol_3(self) -> bool:
        """Whether clients of protocol 3 are served beside those of protocol 4."""
        return self.loopback or self.allow_protocol_3

    @property
    def database_url(self) -> str:
        """The database that was asked for, or the SQLite file in the data directory."""
        path = str(self.data / "eft.sqlite3")
        return self.database or "sqlite:///" + _URL_SYNTAX.sub(lambda c: f"%{ord(c[0]):02X}", path)

    def database_password(self, environment: Mapping[str, str]) -> str | None:
        """The password from `EFT_DATABASE_PASSWORD` or the password file, None without either."""
        if self.database_password_file is None:
            return environment.get("EFT_DATABASE_PASSWORD")
        return _read(self.database_password_file, 4096, secret=True).rstrip("\r\n")


def _read(path: Path, limit: int, *, secret: bool = False) -> str:
    try:
        with path.open("rb") as stream:
            if secret:
                check_private(path, os.fstat(stream.fileno()), f"database password file {path}")
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise ConfigurationError(f"{path} is larger than {limit} bytes: is it the right file?")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and one flag for each setting; flags that are not given stay absent."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with these settings")
    for setting in dataclasses.fields(Config):
        flag = "--" + setting.name.replace("_", "-")
        text = f"{setting.metadata['help']}"
        if setting.default not in (None, False):
            text += f" (default: {setting.default})"
        if isinstance(setting.default, bool):
            parser.add_argument(
                flag, dest=setting.name, action="store_const", const="true",
                default=argparse.SUPPRESS, help=text,
            )  # fmt: skip
        else:
            parser.add_argument(
                flag, dest=setting.name, metavar=_metavar(setting),
                default=argparse.SUPPRESS, help=text.replace("%", "%%"),
            )  # fmt: skip


def _metavar(setting: "dataclasses.Field[Any]") -> str:
    if setting.name.endswith("_days"):
        return "DAYS"
    if setting.metadata["parse"] is _path:
        return "PATH"
    return {int: "N", float: "SECONDS"}.get(type(setting.default), "VALUE")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
    warn: Callable[[str], None] = lambda _text: None,
    port_file_directories: tuple[Path, ...] = (Path(), Path(__file__).parent),
) -> Config:
    """The settings from all their sources.

    `flags` holds what `add_arguments` parsed; `warn` is told, in one line, of a missing or unusable
    `port.info` when nothing else gives the port. Raises `ConfigurationError`, naming the source and
    the cause.
    """
    texts: dict[str, tuple[str, str]] = {}
    if flags.get("config") is not None:
        texts |= _from_toml(flags["config"])
    names = [setting.name for setting in dataclasses.fields(Config)]
    for name in names:
        variable = f"EFT_{name.upper()}"
        if variable in environment:
            texts[name] = (environment[variable], variable)
        if name in flags:
            texts[name] = (flags[name], "--" + name.replace("_", "-"))
    values: dict[str, Any] = {
        setting.name: _parse(setting, *texts[setting.name])
        for setting in dataclasses.fields(Config)
        if setting.name in texts
    }
    if "port" not in values:
        values["port"] = _port_from_file(port_file_directories, warn)
    return Config(**values)


def _parse(setting: "dataclasses.Field[Any]", text: str, source: str) -> object:
    try:
        return setting.metadata["parse"](text)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {text!r} is not {error}") from error


def _from_toml(path: Path) -> dict[str, tuple[str, str]]:
    try:
        table = tomllib.loads(_read(path, 2**20))
    except (ValueError, RecursionError) as error:  # such as 5000 digits or deep nesting
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    known = {setting.name: setting for setting in dataclasses.fields(Config)}
    texts: dict[str, tuple[str, str]] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        source = f"{path}: {key}"
        if name not in known:
            raise ConfigurationError(f"{path}: unknown setting {key!r}")
        if name in texts:
            raise ConfigurationError(f"{source} is given twice")
        misplaced = isinstance(value, bool) and not isinstance(known[name].default, bool)
        if misplaced or not isinstance(value, str | int | float):
            raise ConfigurationError(f"{source} takes one text or number")
        if isinstance(value, int) and abs(value) > _MAX_BYTES:
            raise ConfigurationError(f"{source} is a number that no setting takes")
        texts[name] = (str(value), source)
    return texts


def _port_from_file(directories: tuple[Path, ...], warn: Callable[[str], None]) -> int:
    default = GENERATION_2023A.default_port
    for directory in directories:
        path = directory / "port.info"
        try:
            if not path.exists():
                continue
            port = _integer(1, 65535)(_read(path, _MAX_PORT_FILE_BYTES))
        except (ConfigurationError, OSError, ValueError) as error:
            warn(f"{path} holds no usable port ({error}); using port {default}")
            return default
        return port
    warn(f"no port.info; using port {default}")
    return default

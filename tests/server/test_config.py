"""Where settings come from, which wins, and what is said about those that cannot be used."""

import argparse
import dataclasses
import os
import string
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.config import Config, add_arguments, load, parse_size
from server.errors import ConfigurationError
from server.repository import open_repository

SETTINGS = {setting.name: setting for setting in dataclasses.fields(Config)}

# For each setting that is tried: a text for the flag, for the environment and for TOML (as TOML),
# and what each means.
SAMPLES: dict[str, tuple[str, object, str, object, str, object]] = {
    "host": ("::1", "::1", "127.0.0.2", "127.0.0.2", '"localhost"', "localhost"),
    "data": ("a", Path("a"), "/b", Path("/b"), '"c/d"', Path("c/d")),
    "database": ("sqlite:///a", "sqlite:///a", "sqlite:///b", "sqlite:///b", '"c"', "c"),
    "port": ("1", 1, "65535", 65535, "3", 3),
    "generation_1025": ("2023b", "2023b", "2024a", "2024a", '"2023b"', "2023b"),
    "max_connections": ("1", 1, "20", 20, "300", 300),
    "max_file_bytes": ("1k", 1024, "2 MiB", 2 * 2**20, "4096", 4096),
    "idle_seconds": ("0.5", 0.5, "1", 1.0, "2.25", 2.25),
    "log_level": ("debug", "debug", "error", "error", '"warning"', "warning"),
}


def _flags(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return vars(parser.parse_args(arguments))


def _load(*arguments: str, environment: Mapping[str, str] | None = None) -> Config:
    return load(_flags(*arguments), environment or {}, port_file_directories=())


def _complaint(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What is said of these settings, empty when they are taken."""
    try:
        _load(*arguments, environment=environment)
    except ConfigurationError as error:
        return str(error)
    return ""


def _refusal(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    text = _complaint(*arguments, environment=environment)
    assert len(text.splitlines()) == 1
    return text


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "server.toml"


def test_without_any_source_the_defaults_hold() -> None:
    assert _load() == Config()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_flag_wins_over_the_environment(name: str) -> None:
    flag, meaning, variable, *_ = SAMPLES[name]
    config = _load(_flag(name), flag, environment={f"EFT_{name.upper()}": variable})
    assert getattr(config, name) == meaning


@pytest.mark.parametrize("name", SAMPLES)
def test_the_environment_wins_over_the_file(name: str, toml: Path) -> None:
    _, _, variable, meaning, text, _ = SAMPLES[name]
    toml.write_text(f"{name} = {text}\n")
    config = _load("--config", str(toml), environment={f"EFT_{name.upper()}": variable})
    assert getattr(config, name) == meaning


@pytest.mark.parametrize("name", SAMPLES)
def test_the_file_wins_over_the_default(name: str, toml: Path) -> None:
    text, meaning = SAMPLES[name][4:]
    toml.write_text(f"{name} = {text}\n")
    assert getattr(_load("--config", str(toml)), name) == meaning


def test_a_file_may_write_settings_with_hyphens(toml: Path) -> None:
    toml.write_text("max-connections = 7\n")
    assert _load("--config", str(toml)).max_connections == 7


def test_a_size_in_the_file_may_have_a_unit(toml: Path) -> None:
    toml.write_text('max_file_bytes = "5 MiB"\n')
    assert _load("--config", str(toml)).max_file_bytes == 5 * 2**20


@pytest.mark.parametrize("text", ["1", "true", "YES", "on", " True "])
def test_protocol_3_is_allowed_by_any_word_for_true(text: str) -> None:
    assert _load(environment={"EFT_ALLOW_PROTOCOL_3": text}).allow_protocol_3


@pytest.mark.parametrize("text", ["0", "false", "No", "OFF"])
def test_protocol_3_stays_forbidden_by_any_word_for_false(text: str) -> None:
    assert not _load(environment={"EFT_ALLOW_PROTOCOL_3": text}).allow_protocol_3


@pytest.mark.parametrize("text", ["true", "1", '"yes"'])
def test_the_file_may_allow_protocol_3(toml: Path, text: str) -> None:
    toml.write_text(f"allow_protocol_3 = {text}\n")
    assert _load("--config", str(toml)).allow_protocol_3


def test_the_flag_that_allows_protocol_3_needs_no_value() -> None:
    assert _load("--allow-protocol-3").allow_protocol_3


def test_a_path_may_begin_at_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert _load("--data", "~/eft").data == Path("/home/somebody/eft")


MALFORMED = {
    "port": ["", " ", "-1", "65536", "1.5", "http", "0x10", "1e3", "1_000", "9" * 5000, "nan"],
    "max_connections": ["0", "-5", "1000001", "many", "1k"],
    "max_name_bytes": ["0", "256"],
    "max_file_bytes": ["", "-1", "1.5m", "10 parsecs", "1kk", "9999999999t", "9" * 40, "nan", "k"],
    "idle_seconds": ["", "-0.1", "nan", "inf", "-inf", "1e999", "soon", "5s", "1e12"],
    "allow_protocol_3": ["", "2", "maybe", "tru"],
    "generation_1025": ["", "2023a", "2024c", "1025"],
    "log_format": ["", "xml", "JSON"],
    "log_level": ["trace", "INFO"],
    "host": ["", "  ", "a\0b", "a..b", "a" * 64, "\udcff"],
    "data": ["", " ", "a\0b", "~nobody-of-this-name/x"],
    "database": ["", "\0"],
    "database_password_file": [""],
}
MALFORMED_CASES = [(name, text) for name, texts in MALFORMED.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), MALFORMED_CASES)
def test_a_malformed_variable_is_refused_by_its_name(name: str, text: str) -> None:
    assert f"EFT_{name.upper()}: " in _refusal(environment={f"EFT_{name.upper()}": text})


@pytest.mark.parametrize(
    ("name", "text"), [case for case in MALFORMED_CASES if case[0] != "allow_protocol_3"]
)
def test_a_malformed_flag_is_refused_by_its_name(name: str, text: str) -> None:
    assert f"{_flag(name)}: " in _refusal(f"{_flag(name)}={text}")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("port = -1", "port: '-1'"),
        ("port = 5.0", "port: '5.0'"),
        ("port = true", "port takes one text or number"),
        ("host = true", "host takes one text or number"),
        ("data = [1, 2]", "data takes one text or number"),
        ("idle_seconds = nan", "idle_seconds: 'nan'"),
        ("idle_seconds = -inf", "idle_seconds: '-inf'"),
        ("max_file_bytes = 99999999999999999999", "max_file_bytes is a number that no setting"),
        ("port = 0x" + "f" * 5000, "port is a number that no setting"),
        ("host = 1979-05-27", "host takes one text or number"),
        ("host = {a = 1}", "host takes one text or number"),
        ("[port]\na = 1", "port takes one text or number"),
        ("[[port]]", "port takes one text or number"),
        ("ports = 1", "unknown setting 'ports'"),
        ("database_password = 'secret'", "unknown setting 'database_password'"),
        ("max-connections = 1\nmax_connections = 2", "max_connections is given twice"),
        ("port = 1\nport = 2", "is not TOML"),
        ("port", "is not TOML"),
        ("port = '", "is not TOML"),
        ("port = " + "9" * 5000, "is not TOML"),
        ("port = " + "[" * 20_000, "is not TOML"),
        ("\x00", "is not TOML"),
    ],
)  # fmt: skip
def test_an_unusable_line_of_the_file_is_refused_with_the_files_name(
    toml: Path, line: str, cause: str
) -> None:
    toml.write_text(line)
    text = _refusal("--config", str(toml))
    assert str(toml) in text
    assert cause in text


def test_an_unknown_setting_is_refused_without_its_value(toml: Path) -> None:
    toml.write_text("database_password = 'hunter2'\n")
    assert "hunter2" not in _refusal("--config", str(toml))


def test_a_file_that_is_not_utf_8_is_refused(toml: Path) -> None:
    toml.write_bytes(b"host = '\xff'")
    assert f"{toml} is not UTF-8" in _refusal("--config", str(toml))


def test_a_file_with_a_byte_order_mark_is_read(toml: Path) -> None:
    toml.write_bytes(b"\xef\xbb\xbfport = 9")
    assert _load("--config", str(toml)).port == 9


def test_a_missing_file_is_refused(toml: Path) -> None:
    assert f"cannot read {toml}: No such file" in _refusal("--config", str(toml))


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert f"cannot read {tmp_path}: Is a directory" in _refusal("--config", str(tmp_path))


def test_a_file_of_more_than_a_mebibyte_is_refused(toml: Path) -> None:
    toml.write_bytes(b"#" * (2**20 + 1))
    assert f"{toml} is larger than" in _refusal("--config", str(toml))


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(SETTINGS)), text=st.text())
def test_any_text_in_a_variable_is_a_value_or_a_one_line_refusal(name: str, text: str) -> None:
    assert len(_complaint(environment={f"EFT_{name.upper()}": text}).splitlines()) <= 1


@settings(max_examples=300)
@given(
    name=st.sampled_from(sorted(SETTINGS)),
    text=st.text(string.digits + " .-+_eEkmgtibKMB~/\u212a\u0661nainf", max_size=30),
)
def test_anything_near_a_number_is_a_value_or_a_refusal(name: str, text: str) -> None:
    try:
        value: Any = getattr(_load(environment={f"EFT_{name.upper()}": text}), name)
    except ConfigurationError:
        return
    assert not isinstance(value, int | float) or value >= 0


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(), st.text("port=host[]{}\"'\n.-0159tes", max_size=40)))
def test_any_text_in_the_file_is_settings_or_a_refusal(toml: Path, text: str) -> None:
    toml.write_bytes(text.encode("utf-8", "surrogatepass"))
    complaint = _complaint("--config", str(toml))
    assert not complaint or str(toml) in complaint


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1", 1), ("512", 512), ("1k", 1024), ("1K", 1024), ("1kb", 1024),
        ("1KiB", 1024), ("1 kib", 1024), ("2m", 2 * 2**20), ("2 MB", 2 * 2**20),
        ("100 MiB", 100 * 2**20), ("3g", 3 * 2**30), ("4t", 4 * 2**40), ("5b", 5),
        (" 7 ", 7), ("9223372036854775807", 2**63 - 1), ("8388607t", 8388607 * 2**40),
    ],
)  # fmt: skip
def test_a_size_is_a_number_of_units_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "k", "-1", "+1", "1.5", "1e3", "1 000", "1  k", "1p", "1ki", "1kbb", "1bk", "0x10",
     "9223372036854775808", "8388608t", "1" * 20, "\u0661", "1\u212a"],
)  # fmt: skip
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a size such as|at most"):
        parse_size(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "localhost"])
def test_a_loopback_address_is_known_as_one(host: str) -> None:
    assert Config(host=host).loopback


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "example.org",  # noqa: S104 - not listened on
     "127.0.0.1.example.org",
     "128.0.0.1", "localhost.example.org", "127.1"],
)  # fmt: skip
def test_an_address_that_others_might_reach_is_not_taken_for_loopback(host: str) -> None:
    assert not Config(host=host).loopback


def test_without_a_database_sqlite_lies_in_the_data_directory() -> None:
    assert Config(data=Path("/srv/eft")).database_url == "sqlite:////srv/eft/eft.sqlite3"


@pytest.mark.parametrize(
    "name", ["a%20b", "a#b", "a?b=c", "a b", "a\nb\tc\r", "[a]", "Ünï", os.fsdecode(b"\xff"), "%"]
)
def test_the_database_lies_in_the_data_directory_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    data = tmp_path / name
    data.mkdir()
    with closing(open_repository(Config(data=data).database_url)):
        assert (data / "eft.sqlite3").exists()


def test_a_database_that_was_asked_for_is_used() -> None:
    assert Config(database="mysql://a@b/c").database_url == "mysql://a@b/c"


def test_without_a_password_there_is_none() -> None:
    assert Config().database_password({}) is None


def test_the_password_comes_from_the_environment() -> None:
    assert Config().database_password({"EFT_DATABASE_PASSWORD": "secret"}) == "secret"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_password_file_wins_and_its_line_ending_is_not_part_of_it(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_bytes(f" pass word {ending}".encode())
    config = Config(database_password_file=path)
    assert config.database_password({"EFT_DATABASE_PASSWORD": "other"}) == " pass word "


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "the password"
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"open to others: chmod 600 '.*the password'$"):
        Config(database_password_file=path).database_password({})


def test_a_missing_password_file_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "password"
    with pytest.raises(ConfigurationError, match=f"cannot read {path}: No such file"):
        Config(database_password_file=path).database_password({})


def test_no_flag_or_setting_takes_the_password_itself() -> None:
    assert [name for name in SETTINGS if "password" in name] == ["database_password_file"]


def test_the_settings_do_not_show_the_password() -> None:
    config = _load(environment={"EFT_DATABASE_PASSWORD": "hunter2"})
    assert "hunter2" not in repr(config)


def test_help_lists_every_setting_with_its_flag() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    listed = {option for option in parser.format_help().split() if option.startswith("--")}
    assert {_flag(name) for name in SETTINGS} | {"--config", "--help"} == listed - {"--help]"}


def test_the_settings_cannot_be_changed_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 5  # type: ignore[misc]

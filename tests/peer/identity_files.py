"""The files in a client's working directory: transfer.info, me.info and priv.key.

The writers write what the specification says, or deviate as a `FileStyle` tells. The readers
accept those deviations; with `strict` they raise ValueError for anything a client that keeps the
specification would not have written.
"""

import base64
import binascii
import string
from dataclasses import dataclass
from pathlib import Path

TRANSFER_INFO = "transfer.info"
ME_INFO = "me.info"
PRIV_KEY = "priv.key"
LONGEST_NAME = 100


@dataclass(frozen=True)
class FileStyle:
    """How the files are written.

    crlf: lines end as on Windows.
    base64_width: the private key is wrapped into lines of so many characters.
    final_newline: the last line ends with a newline too.
    key_in_me_info, key_in_priv_key: whether line 3 and whether priv.key is there.
    """

    crlf: bool = False
    base64_width: int | None = None
    final_newline: bool = True
    key_in_me_info: bool = True
    key_in_priv_key: bool = True


@dataclass(frozen=True)
class TransferInfo:
    """Where to send what, and as whom."""

    host: str
    port: int
    name: str
    file: str


@dataclass(frozen=True)
class Identity:
    """Who a client is; the private key is PKCS#8 DER."""

    name: str
    client_id: bytes
    private_key: bytes


def write_transfer_info(
    directory: Path, info: TransferInfo, style: FileStyle | None = None
) -> None:
    """Write transfer.info into the directory."""
    lines = [f"{info.host}:{info.port}", info.name, info.file]
    _write(directory / TRANSFER_INFO, lines, style or FileStyle())


def read_transfer_info(directory: Path, *, strict: bool = False) -> TransferInfo:
    """What transfer.info in the directory says."""
    lines = _read(directory / TRANSFER_INFO, strict=strict)
    if len(lines) != 3:
        raise ValueError(f"{TRANSFER_INFO} has {len(lines)} lines")
    host, colon, port = lines[0].rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"no address: {lines[0]!r}")
    if not 0 < len(lines[1]) <= LONGEST_NAME:
        raise ValueError(f"name of {len(lines[1])} characters")
    return TransferInfo(host, int(port), lines[1], lines[2])


def write_me_info(
    directory: Path,
    name: str,
    client_id: bytes,
    private_key: bytes | None,
    style: FileStyle | None = None,
) -> None:
    """Write me.info; without line 3 when there is no private key, or the style says so."""
    style = style or FileStyle()
    lines = [name, client_id.hex()]
    if private_key is not None and style.key_in_me_info:
        lines += _wrap(private_key, style)
    _write(directory / ME_INFO, lines, style)


def read_me_info(directory: Path, *, strict: bool = False) -> tuple[str, bytes, bytes | None]:
    """Name, client id and private key (None when line 3 is missing) of me.info."""
    lines = _read(directory / ME_INFO, strict=strict)
    if len(lines) < 2 or (strict and len(lines) != 3):
        raise ValueError(f"{ME_INFO} has {len(lines)} lines")
    if len(lines[1]) != 32 or not set(lines[1]) <= set(string.hexdigits):
        raise ValueError(f"not 32 hex digits: {lines[1]!r}")
    key = _unwrap(lines[2:]) if lines[2:] else None
    return lines[0], bytes.fromhex(lines[1]), key


def write_priv_key(directory: Path, private_key: bytes, style: FileStyle | None = None) -> None:
    """Write priv.key, whether or not the style would leave it out."""
    style = style or FileStyle()
    _write(directory / PRIV_KEY, _wrap(private_key, style), style)


def read_priv_key(directory: Path, *, strict: bool = False) -> bytes:
    """The PKCS#8 DER in priv.key."""
    lines = _read(directory / PRIV_KEY, strict=strict)
    if strict and len(lines) != 1:
        raise ValueError(f"{PRIV_KEY} has {len(lines)} lines")
    return _unwrap(lines)


def write_identity(directory: Path, identity: Identity, style: FileStyle | None = None) -> None:
    """Write me.info and priv.key as the style says."""
    style = style or FileStyle()
    write_me_info(directory, identity.name, identity.client_id, identity.private_key, style)
    if style.key_in_priv_key:
        write_priv_key(directory, identity.private_key, style)


def read_identity(directory: Path, *, strict: bool = False) -> Identity:
    """The identity in me.info and priv.key; ValueError when no key is there or they differ."""
    name, client_id, key = read_me_info(directory, strict=strict)
    stored = None
    if strict or (directory / PRIV_KEY).exists():
        stored = read_priv_key(directory, strict=strict)
    if key is not None and stored is not None and key != stored:
        raise ValueError("me.info and priv.key hold different keys")
    found = key if key is not None else stored
    if found is None:
        raise ValueError("no private key in me.info and no priv.key")
    return Identity(name, client_id, found)


def _wrap(private_key: bytes, style: FileStyle) -> list[str]:
    text = base64.b64encode(private_key).decode("ascii")
    width = style.base64_width or len(text)
    return [text[start : start + width] for start in range(0, len(text), width)]


def _unwrap(lines: list[str]) -> bytes:
    try:
        return base64.b64decode("".join(lines), validate=True)
    except binascii.Error as error:
        raise ValueError("private key is not base64") from error


def _write(path: Path, lines: list[str], style: FileStyle) -> None:
    newline = "\r\n" if style.crlf else "\n"
    text = newline.join(lines) + (newline if style.final_newline else "")
    # As bytes, since a text file would turn the line ends into the system's.
    path.write_bytes(text.encode())


def _read(path: Path, *, strict: bool) -> list[str]:
    text = path.read_bytes().decode()
    if strict and "\r" in text:
        raise ValueError(f"{path.name} has carriage returns")
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    if not strict:
        while lines and not lines[-1].strip():
            lines.pop()
    return lines

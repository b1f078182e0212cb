"""Secrets in every form in which they could be told, and the search for them."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_LEAST_BYTES = 12


class Found(NamedTuple):
    """A secret where it must not be."""

    secret: str
    form: str
    where: str


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Every form of a secret, by what it is called: as it is, and as programs write bytes."""
    yield "raw", secret
    yield "hex", secret.hex().encode()
    yield "hex in capitals", secret.hex().upper().encode()
    yield "repr", repr(secret)[2:-1].encode()
    yield "decimal", str(int.from_bytes(secret, "big")).encode()
    yield "decimal, little-endian", str(int.from_bytes(secret, "little")).encode()
    yield "JSON", json.dumps(secret.decode("latin-1"))[1:-1].encode()
    for shift in range(3):
        # In the middle of something longer, only the characters that are the secret's alone count.
        whole = base64.b64encode(bytes(shift) + secret)
        inner = whole[-(-shift * 8 // 6) : (shift + len(secret)) * 8 // 6]
        yield f"base64, {shift}", inner
        yield f"base64url, {shift}", inner.translate(bytes.maketrans(b"+/", b"-_"))


def search(secrets: Mapping[str, Iterable[bytes]], places: Mapping[str, bytes]) -> set[Found]:
    """Each secret that is in one of the places, in whatever form. Raises `ValueError` for one that
    is too short to be told from chance."""
    found = set()
    for name, values in secrets.items():
        for secret in set(values):
            if len(secret) < _LEAST_BYTES:
                raise ValueError(f"{name} is of {len(secret)} bytes only")
            for form, data in forms(secret):
                found |= {
                    Found(name, form, where) for where, text in places.items() if data in text
                }
    return found


def files(directory: Path, *, without: Iterable[Path] = ()) -> dict[str, bytes]:
    """The content of all files below a directory, but those of `without` and below."""
    spared = list(without)
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not any(path.is_relative_to(one) for one in spared)
    }

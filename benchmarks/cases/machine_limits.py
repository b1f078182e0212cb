"""What the machine allows: the same amount of content, one thing done to it."""

import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.alternating import Conditions, Contender, alternate
from benchmarks.cases.transfers import run_of
from benchmarks.errors import RunFailed
from benchmarks.measuring import Command, measure
from benchmarks.results import Group, Run, Series
from benchmarks.sizes import size_text

_NAMES = {
    "tcp": "raw TCP over loopback",
    "write": "write to the disk, not synced",
    "write-and-sync": "write to the disk, synced",
    "write-direct": "write to the disk, O_DIRECT, synced",
    "gcm-pycryptodome": "AES-256-GCM, pycryptodome",
    "gcm-cryptography": "AES-256-GCM, cryptography",
    "sha256": "SHA-256",
}


def limits(size: int, conditions: Conditions) -> list[Group]:
    """Every limit in turn."""
    title = f"{size_text(size)} each, in Python"
    conditions.progress(title)
    contenders = [
        Contender(Series(name), LimitAttempt(key, name, size)) for key, name in _NAMES.items()
    ]
    runs = alternate(contenders, conditions)
    series = [contender.series for contender in contenders]
    return [Group("limits", title, series, amount=size, files=1, runs=runs)]


class LimitAttempt:
    """Runs one of `benchmarks.limits`, in a process of its own."""

    def __init__(self, key: str, name: str, size: int) -> None:
        self._key = key
        self._name = name
        self._size = size

    def __call__(self, directory: Path) -> Run:
        command = Command(
            (sys.executable, "-m", "benchmarks.limits", self._key, str(self._size), str(directory))
        )
        measured = measure([[command]], (), directory)
        try:
            seconds = float(measured.outputs[0])
        except ValueError as error:
            raise RunFailed(f"{self._key} gave no figure") from error
        # Start and preparation are no part of the limit.
        return replace(run_of(self._name, measured), seconds=seconds, server_cpu=None)

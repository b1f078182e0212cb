"""What a fuzz target is, and where all of them are found."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass


class Violation(AssertionError):
    """The code under test has broken a promise; the text says which."""


def must(holds: object, promise: str) -> None:
    """Raises `Violation` unless it holds; unlike `assert` it stays under `python -O`."""
    if not holds:
        raise Violation(promise)


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes, and returns unless a promise was broken.

    `under_test` is for people. `seeds` gives the inputs to begin with; inputs have at most
    `max_bytes`.
    """

    name: str
    under_test: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    max_bytes: int = 2048


def names() -> list[str]:
    """Those of all targets: the modules of `tests.fuzz.targets`."""
    from tests.fuzz import targets

    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    """The target in the module of this name."""
    target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    if not isinstance(target, Target) or target.name != name:
        raise TypeError(f"tests.fuzz.targets.{name} defines no target of its own name")
    return target

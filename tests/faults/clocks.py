"""Wall clocks of single processes, which jump when a test says so (libfaketime)."""

from dataclasses import dataclass
from pathlib import Path

_SITE = Path(__file__).parent / "faked_clock"
_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True)
class Clock:
    """The wall clock of every process that is started `through` it; others keep the right time.

    What measures durations, the monotonic clock, is not touched, as it is not when a real clock is
    set."""

    file: Path

    @classmethod
    def right(cls, directory: Path) -> "Clock":
        """A clock that is right until it is set."""
        clock = cls(directory / "clock")
        clock.jump(0)
        return clock

    def jump(self, seconds: int) -> None:
        """From now on the clock is so many seconds ahead of the right time, or behind."""
        new = self.file.with_name("clock.new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)

    @property
    def through(self) -> tuple[str, ...]:
        """The command that gives this clock to the command that follows it."""
        return (
            "env", f"LD_PRELOAD={_library()}", f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", f"PYTHONPATH={_SITE}",
        )  # fmt: skip


def _library() -> Path:
    found = sorted(Path("/").glob(_LIBRARIES.lstrip("/")))
    if not found:
        raise RuntimeError("libfaketime is missing, install it with: apt-get install faketime")
    return found[0]

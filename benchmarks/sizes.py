"""Sizes in bytes, and how they are written."""

KIB = 2**10
MIB = 2**20
GIB = 2**30


def size_text(size: int) -> str:
    """`size` in the largest binary unit that leaves a whole number, as in 10 MiB."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit:,} {name}"
    return f"{size:,} bytes"

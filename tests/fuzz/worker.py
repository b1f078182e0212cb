"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.worker TARGET ...`.

The further arguments are libFuzzer's. Ends with another status than 0 when an input breaks a
promise; the input is written where `-artifact_prefix` says.
"""

import logging
import os
import sys

import atheris

from tests.fuzz import target

PROGRAM_VARIABLE = "EFT_FUZZ_PROGRAM"

# Beside the product, the parsers underneath that hostile bytes reach.
_INSTRUMENTED = ["protocol", "client", "server", "tomllib", "Crypto.PublicKey", "Crypto.Util.asn1"]


def main() -> None:
    """Fuzzes until libFuzzer's arguments say that it is enough."""
    name = sys.argv.pop(1)
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=_INSTRUMENTED):
        found = target.load(name)
    # For merging, libFuzzer starts its own program again and again.
    program = os.environ.get(PROGRAM_VARIABLE, sys.argv[0])
    atheris.Setup([program, *sys.argv[1:], f"-max_len={found.max_bytes}"], found.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""The command line of the client: `python -m client`."""

import gc
import os
import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> int:
    """Runs the program with the arguments of the process; the exit status."""
    # Next to nothing here is garbage that counting references misses; looking for it while modules
    # are loaded, and at every 700th object of a directory's files, takes a tenth of a short run.
    gc.set_threshold(50_000)
    try:
        from client.commands import running

        return running.main()
    except KeyboardInterrupt:  # while the modules were being loaded
        return _INTERRUPTED
    finally:
        # Nor is it looked for where the interpreter does come to its end, after `--help` or misuse:
        # a tenth of those.
        gc.freeze()


def program() -> NoReturn:
    """Runs the program, and ends the process with its exit status."""
    status = main()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # as it is where it was closed before the start
                stream.flush()
    except (OSError, ValueError):
        sys.exit(status)
    # Python would take every module and class apart, a twentieth of a short run; the kernel frees
    # their memory in any case, and nothing here is left to the end of the interpreter.
    os._exit(status)


if __name__ == "__main__":
    program()

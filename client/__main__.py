"""The command line of the client: `python -m client`."""

import gc
import sys

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
        gc.freeze()  # nor is it looked for at the end, when all of it goes anyway


if __name__ == "__main__":
    sys.exit(main())

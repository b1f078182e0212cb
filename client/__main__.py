"""The command line of the client: `python -m client`."""

import gc
import sys

# Next to nothing here is garbage that counting references misses; looking for it while modules are
# loaded, and at every 700th object of a directory's files, takes a tenth of a short run.
gc.set_threshold(50_000)

from client.commands.running import main  # noqa: E402

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

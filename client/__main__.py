"""The command line of the client: `python -m client`."""

import sys

from client.commands.running import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

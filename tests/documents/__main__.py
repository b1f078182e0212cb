"""`make readme`: runs the commands of the README's transfer, and names the line that fails."""

import sys
import time

from tests.documents.commandlines import ROOT
from tests.documents.transfer import TITLE, Failed, run


def main() -> int:
    """The exit status: 1 when a line does not do what it promises."""
    began = time.monotonic()
    try:
        run(ROOT, lambda line: print(line, flush=True))
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"README.md, {TITLE!r}: every command works ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

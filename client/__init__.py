"""The client: holds an identity and sends files, as `python -m client` or piece by piece.

from client import Client

with Client("files.example.org:7234") as client:
    receipt = client.put(Path("report.pdf"), "reports/report.pdf")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.api import Client as Client
    from client.api import WhoAmI as WhoAmI
    from client.posting import PutResult as PutResult
    from client.receipts import Receipt as Receipt
    from client.receipts import verify_receipt as verify_receipt

_HOMES = {
    "Client": "client.api",
    "PutResult": "client.posting",
    "Receipt": "client.receipts",
    "WhoAmI": "client.api",
    "verify_receipt": "client.receipts",
}
__all__ = ["Client", "PutResult", "Receipt", "WhoAmI", "verify_receipt"]


def __getattr__(name: str) -> object:
    # Protocol 3 and --help need none of it, and start faster without.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_HOMES[name]), name)
    return found

"""`receipts`: what servers have signed for, listed and verified without any server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client.commands.listing import iso_time
from client.commands.options import Subparsers, command
from client.commands.output import printable
from client.commands.running import Context
from client.errors import BadReceipt, BadState, FileUnusable
from protocol.receipts import ReceiptBody

_DESCRIPTION = """\
A receipt is what a server has signed when it had a file, complete and durable: which client sent
it, its name, size and SHA-256 digest, and when. This client keeps all of them; they are verified
without the server, with the keys that servers told over connections that were trusted."""
_VERIFY = """\
Verify receipts: that a known server's key has signed them, and nothing was altered. Without FILE,
all those that this client keeps. The exit status is 1 when one fails."""

_NANOSECONDS = 10**9


def add(commands: Subparsers) -> None:
    """Adds `receipts list|verify`."""
    parser = command(commands, "receipts", "list or verify receipts", _DESCRIPTION)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    command(actions, "list", "list the receipts that this client keeps").set_defaults(run=run_list)
    verifying = command(actions, "verify", "verify receipts, without the server", _VERIFY)
    verifying.add_argument("files", nargs="*", type=Path, metavar="FILE", help="file of receipts")
    verifying.set_defaults(run=run_verify)


def run_list(context: Context) -> None:
    """Lists the receipts, oldest first; one that does not verify is reported as failed."""
    for path, body in _verified(context, _kept(context)):
        received = iso_time(body.received * _NANOSECONDS) or "?"
        context.output.result(
            _fields(path, body),
            f"{received} {body.size:>13} {body.sha256.hex()[:12]} {printable(body.file_name)}",
        )


def run_verify(context: Context) -> None:
    """Verifies the receipts."""
    paths = context.arguments.files or _kept(context)
    for path, body in _verified(context, paths):
        shown = printable(str(path))
        text = f"{shown}: good, {printable(body.file_name)}, SHA-256 {body.sha256.hex()}"
        context.output.result(_fields(path, body) | {"verified": True}, text)


def _verified(context: Context, paths: list[Path]) -> Iterator[tuple[Path, ReceiptBody]]:
    from client.known_servers import KnownServers
    from client.receipts import read_receipts, verify_receipt
    from client.state import Places

    keys = KnownServers(Places.of(context.arguments.directory).known_servers).receipt_keys()
    for path in paths:
        try:
            packed_receipts = read_receipts(path)
        except (BadReceipt, BadState) as error:
            context.output.failed(str(path), None, FileUnusable(str(error)))
            continue
        for packed in packed_receipts:
            try:
                yield path, verify_receipt(packed, keys)
            except BadReceipt as error:
                context.output.failed(str(path), None, FileUnusable(f"{str(path)!r}: {error}"))


def _kept(context: Context) -> list[Path]:
    from client.receipts import ReceiptStore
    from client.state import Places

    return list(ReceiptStore(Places.of(context.arguments.directory).receipts).paths())


def _fields(path: Path, body: ReceiptBody) -> dict[str, Any]:
    return {
        "file": str(path),
        "name": body.file_name,
        "size": body.size,
        "sha256": body.sha256.hex(),
        "received": iso_time(body.received * _NANOSECONDS),
        "client_name": body.client_name,
        "client_id": body.client_id.hex(),
        "upload_id": body.upload_id.hex(),
    }

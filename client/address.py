"""Where the server is: `HOST:PORT` as a user writes it."""

import re
from typing import NamedTuple

from client.errors import BadInput

_REMEDY = "write HOST:PORT, such as 192.0.2.7:1234, [2001:db8::7]:1234 or files.example.org:1234"
_HIGHEST_PORT = 65535
_MOST_LABEL_BYTES = 63
"""RFC 1035, section 2.3.4."""
_PORT = re.compile(r"[0-9]{1,5}")


class Address(NamedTuple):
    """A host name, IPv4 or IPv6 address (without brackets), and a TCP port."""

    host: str
    port: int

    @property
    def resolvable(self) -> str | bytes:
        """The host for the resolver and for TLS, which encode what is not bytes by IDNA."""
        return self.host.encode() if self.host.isascii() else self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, origin: str) -> Address:
    """The address that `text` means; raises `BadInput`, with `origin`, when it means none."""
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        raise BadInput(origin, f"{text!r} has no port", _REMEDY)
    if not (_PORT.fullmatch(port) and 1 <= int(port) <= _HIGHEST_PORT):
        raise BadInput(origin, f"{port!r} is not a port from 1 to {_HIGHEST_PORT}", _REMEDY)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadInput(origin, f"the IPv6 address in {text!r} has no brackets", _REMEDY)
    if not _is_plain_host(host):
        raise BadInput(origin, f"{host!r} is not a host", _REMEDY)
    return Address(host, int(port))


def _is_plain_host(host: str) -> bool:
    if not host.isprintable() or any(c in " []/@" for c in host):
        return False
    # What the resolver does first: an empty or overlong label fails here, with a line number.
    if host.isascii():  # IDNA has nothing to encode, and takes a fiftieth of a short run to load
        labels = host.removesuffix(".").split(".")
        return all(0 < len(label) <= _MOST_LABEL_BYTES for label in labels)
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False

"""transfer.info, and the address in its first line."""

from collections.abc import Iterable

from client.address import parse_address
from client.errors import BadInput
from client.transfer_info import parse_transfer_info
from tests.fuzz.target import Target, must


def _run(data: bytes) -> None:
    try:
        info = parse_transfer_info(data)
    except BadInput as error:
        must("\n" not in str(error), "an error is one line")
        return
    for line in (info.server, info.name, *info.files):
        must("\0" not in line.text and "\n" not in line.text, "a line is a line of text")
        must(line.text == line.text.rstrip(" \t"), "a line ends without blanks")
    must(all(line.text for line in info.files), "no path is empty")
    joined = "\n".join(line.text for line in (info.server, info.name, *info.files))
    again = parse_transfer_info(joined.encode())
    texts = [line.text for line in again.files]
    marked = info.server.text.startswith("\ufeff")
    must(marked or texts == [line.text for line in info.files], "any line ends mean the same")
    _check_address(info.server.text)


def _check_address(text: str) -> None:
    try:
        address = parse_address(text, "transfer.info, line 1")
    except BadInput:
        return
    must(1 <= address.port <= 65535 and address.host, "an address has a host and a port")
    must(parse_address(str(address), "again") == address, "an address reads as it is shown")


def _seeds() -> Iterable[bytes]:
    yield b"127.0.0.1:1234\nMiriam Cohen\nfile.txt\n"
    yield b"\xef\xbb\xbf[::1]:1256\r\nname\r\n\r\n/a/b.txt \t\r\n"
    yield b"host\rname"
    yield b"files.example.org:65535\n\xff\n\0"
    yield "b\u00fccher.example:1\n\u05de\u05e8\u05d9\u05dd\n\u202e".encode()


TARGET = Target("transfer_info", "client/transfer_info.py, address.py", _run, _seeds)

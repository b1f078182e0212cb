"""The content of one file as protocol 3's requests bring it: whole, or in packets of two kinds."""

from typing import Literal

from protocol.messages3 import SendFile, SendPacket
from server.errors import Refused
from server.opening import ContentOpener
from server.receiving import Upload

RECEIVE_BYTES = 1024 * 1024
"""The largest piece of content that is received, and that is written, at once."""


class IncomingContent:
    """Decrypts into an upload what one `SendFile`, or the packets of one file, carry.

    Packet senders differ: most cut one ciphertext into slices and announce its whole size in each
    packet, some encrypt each packet for itself and announce this packet's size. The first packet
    shows which: a slice of several is smaller than the whole.
    """

    def __init__(self, aes_key: bytes, upload: Upload) -> None:
        self.upload = upload
        self._aes_key = aes_key
        self._opener = ContentOpener(aes_key, RECEIVE_BYTES)
        self._kind: Literal["whole", "sliced", "own"] = "whole"
        self._request: SendFile | SendPacket | None = None
        self._ciphertext_left = 0

    @staticmethod
    def announced_bytes(request: SendFile | SendPacket) -> int:
        """The most plain bytes that the file can have, from its first request.

        Raises `Refused` when the announced sizes are impossible."""
        if not request.content_size:
            raise Refused("a file of no ciphertext at all")
        if isinstance(request, SendFile):
            return request.content_size
        # A sender of own ciphertexts announces the file's size only as that of the plain file.
        return max(request.content_size, request.original_size)

    def open(self, request: SendFile | SendPacket, content_bytes: int) -> None:
        """Prepares for the content of the next request. Raises `Refused` when it does not follow
        the one before."""
        previous, self._request = self._request, request
        if isinstance(request, SendFile):
            self._ciphertext_left = request.content_size
            return
        if previous is None:
            own = request.total_packets > 1 and request.content_size == content_bytes
            self._kind = "own" if own else "sliced"
            self._ciphertext_left = request.content_size
        elif isinstance(previous, SendPacket):
            self._check_sequence(previous, request)
        if self._kind == "own":
            self._opener = ContentOpener(self._aes_key, RECEIVE_BYTES)
            self._ciphertext_left = request.content_size
        if not 1 <= request.packet <= request.total_packets:
            raise Refused(f"packet {request.packet} of {request.total_packets}")

    def take(self, piece: memoryview) -> None:
        """Decrypts and writes ciphertext; what comes beyond the announced size is passed over."""
        piece = piece[: self._ciphertext_left]
        self._ciphertext_left -= len(piece)
        for plain in self._opener.open(piece):
            self.upload.write(plain)

    def close(self) -> bool:
        """Ends the current request's content; True when it was the file's last.

        Raises `Refused` when the file is shorter than announced or does not decrypt."""
        request = self._request
        last = not isinstance(request, SendPacket) or request.packet == request.total_packets
        if (last or self._kind == "own") and self._ciphertext_left:
            raise Refused(f"{self._ciphertext_left} bytes of the announced content are missing")
        if last or self._kind == "own":
            self.upload.write(self._opener.finish())
        return last

    def _check_sequence(self, previous: SendPacket, request: SendPacket) -> None:
        same_file = (
            request.name == previous.name and request.total_packets == previous.total_packets
        )
        same_size = self._kind == "own" or request.content_size == previous.content_size
        if request.packet != previous.packet + 1 or not same_file or not same_size:
            raise Refused(f"packet {request.packet} does not follow packet {previous.packet}")

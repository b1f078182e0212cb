"""The ways in which real clients deviate, and in which `PeerClient` can."""

import enum
import os
from dataclasses import dataclass

from tests.peer import crypto
from tests.peer.generations import Generation
from tests.peer.wire import FILE_HEADER, ID_SIZE, NAME_SIZE, PACKET_HEADER


class Packets(enum.Enum):
    """How a packet generation's client cuts the file."""

    ONE_CIPHERTEXT = "slices of one ciphertext"
    OWN_CIPHERTEXTS = "each packet its own ciphertext of a slice of the plain file"
    FILLED_SLICES = "slices of one ciphertext, the last filled with garbage to full length"


@dataclass(frozen=True)
class Style:
    """What a `PeerClient` does in its own way; the default is the specification.

    packets, packet_size: for 2024a and 2024c. The size is that of a slice of the ciphertext, for
        OWN_CIPHERTEXTS that of a slice of the plain file; it need not be a multiple of 16.
    unterminated_names: names of exactly 255 bytes are allowed and sent without a terminator.
    garbage_after_nul: name fields end in garbage instead of zeros after the first NUL.
    garbage_id_when_registering: the registration carries random bytes as client id.
    piece_size: each request is written in pieces of so many bytes, all at once with None.
    public_key_bits: below 1024 the DER is shorter than its field and zeros follow it. 1023 bits
        keep encrypted AES keys at 128 bytes. A 2023 server can answer 512 bits, a 2024 one 600.
    wrong_crc: so many times the client takes its own checksum for another one than it is.
    """

    packets: Packets = Packets.ONE_CIPHERTEXT
    packet_size: int = 1024
    unterminated_names: bool = False
    garbage_after_nul: bool = False
    garbage_id_when_registering: bool = False
    piece_size: int | None = None
    public_key_bits: int = 1024
    wrong_crc: int = 0

    def registration_id(self) -> bytes:
        """What stands for the client id before there is one."""
        if not self.garbage_id_when_registering:
            return bytes(ID_SIZE)
        # Not 0x16: the server takes that for the beginning of TLS, as its documents say.
        return b"\xcc" + os.urandom(ID_SIZE - 1)

    def name_field(self, name: bytes) -> bytes:
        """The fixed field of a name; ValueError when this style cannot send it."""
        longest = NAME_SIZE if self.unterminated_names else NAME_SIZE - 1
        if len(name) > longest:
            raise ValueError(f"name of {len(name)} bytes, this style sends at most {longest}")
        field = name.ljust(NAME_SIZE, b"\0")
        if self.garbage_after_nul:
            after = len(name) + 1
            # No NUL in it, so that a reader which takes the last NUL for the end is caught.
            field = field[:after] + b"\xcc\xfe" * ((NAME_SIZE - after + 1) // 2)
        return field[:NAME_SIZE]

    def file_payloads(
        self, generation: Generation, aes_key: bytes, file_name: bytes, plain: bytes
    ) -> list[bytes]:
        """The payloads of the requests that send this file, one or several."""
        name = self.name_field(file_name)
        if not generation.in_packets:
            content = crypto.encrypt(aes_key, plain)
            return [FILE_HEADER.pack(len(content), name) + content]
        return [
            PACKET_HEADER.pack(size, len(plain), number, total, name) + content
            for number, total, size, content in self._packets(aes_key, plain)
        ]

    def _packets(self, aes_key: bytes, plain: bytes) -> list[tuple[int, int, int, bytes]]:
        """(packet number, total, content size, content) of each packet."""
        if self.packets is Packets.OWN_CIPHERTEXTS:
            contents = [crypto.encrypt(aes_key, part) for part in self._cut(plain)]
            sizes = [len(content) for content in contents]
        else:
            ciphertext = crypto.encrypt(aes_key, plain)
            contents = self._cut(ciphertext)
            sizes = [len(ciphertext)] * len(contents)
        if self.packets is Packets.FILLED_SLICES:
            contents[-1] += os.urandom(self.packet_size - len(contents[-1]))
        total = len(contents)
        return [
            (number, total, size, content)
            for number, (size, content) in enumerate(zip(sizes, contents, strict=True), start=1)
        ]

    def _cut(self, data: bytes) -> list[bytes]:
        """Slices of the packet size; of an empty file one, empty, since a packet must be sent."""
        starts = range(0, max(len(data), 1), self.packet_size)
        return [data[start : start + self.packet_size] for start in starts]

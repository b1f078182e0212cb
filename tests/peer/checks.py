"""What a server can see wrong in a request's payload.

Each reader takes `report`, which is called with a sentence for every violation; what the
specification tells servers to accept is reported and read all the same. `Unusable` is raised for
what cannot be read at all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import crypto
from tests.peer.wire import (
    FILE_HEADER,
    NAME_SIZE,
    PACKET_HEADER,
    PUBLIC_KEY_SIZE,
    name_before_nul,
)

Report = Callable[[str], None]


class Unusable(ValueError):
    """The request cannot be served; its text is the violation."""


def read_name(field: bytes, report: Report) -> str:
    """The name of a 255-byte field."""
    octets = name_before_nul(field)
    if not octets:
        raise Unusable("empty name")
    if len(octets) == NAME_SIZE:
        report("name without terminator")
    if field != octets.ljust(NAME_SIZE, b"\0"):
        report("name field not filled with zeros")
    if not octets.isascii():
        report("name is not ASCII")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise Unusable("name is not UTF-8") from error


def read_name_payload(payload: bytes, report: Report) -> str:
    """The name of a request that carries nothing else."""
    if len(payload) != NAME_SIZE:
        raise Unusable(f"payload of {len(payload)} bytes instead of {NAME_SIZE}")
    return read_name(payload, report)


def read_public_key(payload: bytes, report: Report) -> tuple[str, rsa.RSAPublicKey]:
    """Name and key of the public key request."""
    if len(payload) != NAME_SIZE + PUBLIC_KEY_SIZE:
        raise Unusable(f"payload of {len(payload)} bytes instead of 415")
    name = read_name(payload[:NAME_SIZE], report)
    field = payload[NAME_SIZE:]
    der = field[: _der_size(field)]
    if len(der) != PUBLIC_KEY_SIZE:
        report(f"public key of {len(der)} bytes")
    if any(field[len(der) :]):
        report("public key not filled with zeros")
    try:
        key = crypto.load_public(der)
    except ValueError as error:
        raise Unusable(f"public key does not load: {error}") from error
    if key.key_size != 1024:
        report(f"public key of {key.key_size} bits")
    if key.public_numbers().e != crypto.PUBLIC_EXPONENT:
        report(f"public exponent {key.public_numbers().e}")
    if crypto.public_der(key) != der:
        report("public key is not the DER of a SubjectPublicKeyInfo")
    return name, key


def _der_size(field: bytes) -> int:
    """The size that a DER sequence says of itself, header included."""
    if field[0] != 0x30:
        raise Unusable("public key is no DER sequence")
    if field[1] < 0x80:
        return 2 + field[1]
    octets = field[1] & 0x7F
    return 2 + octets + int.from_bytes(field[2 : 2 + octets], "big")


@dataclass(frozen=True)
class Packet:
    """The fields of one send-file request; one message is packet 1 of 1."""

    content_size: int
    original_size: int | None
    number: int
    total: int
    file_name: str
    content: bytes


def read_packet(payload: bytes, in_packets: bool, report: Report) -> Packet:
    """The fields of a send-file request, the relations between them not yet judged."""
    header = PACKET_HEADER if in_packets else FILE_HEADER
    if len(payload) < header.size:
        raise Unusable(f"payload of {len(payload)} bytes, less than its {header.size} of fields")
    content = payload[header.size :]
    if in_packets:
        size, original, number, total, field = PACKET_HEADER.unpack_from(payload)
        return Packet(size, original, number, total, read_name(field, report), content)
    size, field = FILE_HEADER.unpack_from(payload)
    return Packet(size, None, 1, 1, read_name(field, report), content)


def _complete_slices(packets: list[Packet], in_packets: bool, report: Report) -> bytes:
    """The one ciphertext whose slices these are."""
    size = packets[0].content_size
    ciphertext = b"".join(packet.content for packet in packets)
    if any(packet.content_size != size for packet in packets):
        raise Unusable("content size changes between packets")
    if len(ciphertext) < size or (len(ciphertext) > size and not in_packets):
        raise Unusable(f"content of {len(ciphertext)} bytes, said to be {size}")
    if len(ciphertext) > size:
        if len({len(packet.content) for packet in packets}) > 1:
            raise Unusable("too much content, and not in slices of one length")
        report("last packet filled up beyond the content size")
    return ciphertext[:size]


def decrypt_file(packets: list[Packet], aes_key: bytes, in_packets: bool, report: Report) -> bytes:
    """The plain file of all its packets, in order."""
    total = len(packets)
    try:
        if total > 1 and all(packet.content_size == len(packet.content) for packet in packets):
            report("each packet its own ciphertext")
            plain = b"".join(crypto.decrypt(aes_key, packet.content) for packet in packets)
        else:
            plain = crypto.decrypt(aes_key, _complete_slices(packets, in_packets, report))
    except crypto.ContentError as error:
        raise Unusable(str(error)) from error
    for packet in packets:
        if packet.original_size is not None and packet.original_size != len(plain):
            raise Unusable(f"original size {packet.original_size}, the file has {len(plain)}")
    return plain


class Assembly:
    """The packets of the file that is on its way."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def add(self, packet: Packet) -> bool:
        """Take the next packet; whether the file is complete. `Unusable` when it does not fit."""
        if packet.number != len(self.packets) + 1 or packet.number > packet.total:
            raise Unusable(
                f"packet {packet.number} of {packet.total} after {len(self.packets)} packets"
            )
        if self.packets:
            first = self.packets[0]
            if (packet.file_name, packet.total) != (first.file_name, first.total):
                raise Unusable("file name or total changes between packets")
        self.packets.append(packet)
        return packet.number == packet.total

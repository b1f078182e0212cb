"""Opening protocol 3's content: AES-CBC with an IV of zeros and PKCS#7 padding, in pieces."""

import mmap
from collections.abc import Iterator

from Crypto.Cipher import AES
from Crypto.Util.strxor import strxor

from server.errors import UndecipherableContent

BLOCK_BYTES = 16


class ContentOpener:
    """Decrypts one ciphertext, which arrives in pieces of any size, into pieces of `piece_bytes`
    bytes, a multiple of a block: each lies at the start of a page, where the storage can write it
    past the page cache."""

    def __init__(self, key: bytes, piece_bytes: int) -> None:
        # CBC decryption is block decryption and one XOR (NIST SP 800-38A, 6.2): done for all
        # blocks at once it runs at 5 GB/s where pycryptodome's own CBC mode reaches 1.
        self._blocks = AES.new(key, AES.MODE_ECB)
        self._previous = bytes(BLOCK_BYTES)
        self._partial = bytearray()
        self._piece_bytes = piece_bytes
        # The last block is held back, since only the end of the content shows that it is padding.
        self._plain = memoryview(mmap.mmap(-1, piece_bytes + BLOCK_BYTES))
        self._end = 0

    def open(self, piece: memoryview) -> Iterator[memoryview]:
        """The plain pieces that this one completes, each valid until the next one is asked for;
        iterate to the end."""
        if self._partial:
            missing = BLOCK_BYTES - len(self._partial)
            self._partial += piece[:missing]
            piece = piece[missing:]
            if len(self._partial) < BLOCK_BYTES:
                return
            yield from self._decrypt(memoryview(bytes(self._partial)))
            self._partial.clear()
        whole = len(piece) - len(piece) % BLOCK_BYTES
        while whole:
            size = min(whole, len(self._plain) - self._end)
            yield from self._decrypt(piece[:size])
            piece, whole = piece[size:], whole - size
        self._partial += piece

    def finish(self) -> memoryview:
        """The last plain bytes, without the padding.

        Raises `UndecipherableContent` when the content is no whole number of blocks or the padding
        is wrong; the two are not told apart (RFC 5246, 6.2.3.2, on why).
        """
        if self._partial or not self._end:
            raise UndecipherableContent("the content does not decrypt")
        last = self._plain[: self._end]
        padding = last[-1]
        if not 1 <= padding <= BLOCK_BYTES or bytes(last[-padding:]) != bytes([padding]) * padding:
            raise UndecipherableContent("the content does not decrypt")
        return last[:-padding]

    def _decrypt(self, blocks: memoryview) -> Iterator[memoryview]:
        """Decrypts blocks for which there is room, and gives out what is complete then."""
        start, end = self._end, self._end + len(blocks)
        first, others = (
            self._plain[start : start + BLOCK_BYTES],
            self._plain[start + BLOCK_BYTES : end],
        )
        self._blocks.decrypt(blocks, output=self._plain[start:end])
        strxor(first, self._previous, output=first)
        if others:
            strxor(others, blocks[:-BLOCK_BYTES], output=others)
        self._previous = bytes(blocks[-BLOCK_BYTES:])
        self._end = end
        if end == len(self._plain):
            yield self._plain[: self._piece_bytes]
            self._plain[:BLOCK_BYTES] = self._plain[self._piece_bytes :]
            self._end = BLOCK_BYTES

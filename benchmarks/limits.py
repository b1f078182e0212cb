"""What this machine allows at most: programs that do one thing each and print its seconds.

`python -m benchmarks.limits NAME BYTES [DIRECTORY]`; content is random and prepared beforehand.
"""

import argparse
import hashlib
import mmap
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.sizes import MIB

_PIECE_BYTES = MIB
_NONCE = bytes(12)
_KEY = bytes(32)
_TAG_BYTES = 16


def tcp(size: int, _directory: Path) -> float:
    """Memory to memory between two processes over loopback."""
    near, far = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=_receive, args=(size, far))
    receiver.start()
    piece = memoryview(os.urandom(_PIECE_BYTES))
    with socket.create_connection(near.recv()) as connection:
        began = time.perf_counter()
        for _ in range(size // _PIECE_BYTES):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        left = near.recv()
        seconds = time.perf_counter() - began
    receiver.join()
    assert not left, f"{left} bytes did not arrive"
    return seconds


def _receive(size: int, told: Connection) -> None:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told.send(listening.getsockname())
        connection, _ = listening.accept()
        with connection:
            left = size
            while left and (received := connection.recv_into(buffer)):
                left -= received
    told.send(left)


def write(size: int, directory: Path) -> float:
    """Into a new file, which may still be in memory afterwards."""
    return _write(size, directory / "written", sync=False)


def write_and_sync(size: int, directory: Path) -> float:
    """Into a new file, synced at the end."""
    return _write(size, directory / "written", sync=True)


def write_direct(size: int, directory: Path) -> float:
    """Into a new file past the page cache (O_DIRECT), synced at the end."""
    return _write(size, directory / "written", sync=True, flags=os.O_DIRECT)


def _write(size: int, path: Path, *, sync: bool, flags: int = 0) -> float:
    piece = mmap.mmap(-1, _PIECE_BYTES)  # page-aligned, as O_DIRECT wants it
    piece[:] = os.urandom(_PIECE_BYTES)
    began = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600)
    for _ in range(size // _PIECE_BYTES):
        os.write(descriptor, piece)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def _in_pieces(size: int, work: Callable[[bytearray], object]) -> float:
    piece = bytearray(os.urandom(_PIECE_BYTES))
    began = time.perf_counter()
    for _ in range(size // _PIECE_BYTES):
        work(piece)
    return time.perf_counter() - began


def gcm_pycryptodome(size: int, _directory: Path) -> float:
    """AES-256-GCM in memory in segments of 1 MiB, by pycryptodome."""
    from Crypto.Cipher import AES

    out = bytearray(_PIECE_BYTES)

    def seal(piece: bytearray) -> bytes:
        cipher = AES.new(_KEY, AES.MODE_GCM, nonce=_NONCE)
        cipher.encrypt(piece, output=out)
        return cipher.digest()

    return _in_pieces(size, seal)


def gcm_cryptography(size: int, _directory: Path) -> float:
    """AES-256-GCM in memory in segments of 1 MiB, by cryptography (OpenSSL)."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(_KEY)
    if hasattr(cipher, "encrypt_into"):
        out = bytearray(_PIECE_BYTES + _TAG_BYTES)
        return _in_pieces(size, lambda piece: cipher.encrypt_into(_NONCE, piece, None, out))
    return _in_pieces(size, lambda piece: cipher.encrypt(_NONCE, piece, None))


def sha256(size: int, _directory: Path) -> float:
    """SHA-256 in memory."""
    digest = hashlib.sha256()
    return _in_pieces(size, digest.update)


def _cbc(size: int, key_bytes: int) -> float:
    from Crypto.Cipher import AES

    cipher = AES.new(bytes(key_bytes), AES.MODE_CBC, bytes(AES.block_size))
    out = bytearray(_PIECE_BYTES)
    return _in_pieces(size, lambda piece: cipher.encrypt(piece, output=out))


def cbc_128(size: int, _directory: Path) -> float:
    """AES-128-CBC encryption in memory, by pycryptodome."""
    return _cbc(size, 16)


def cbc_256(size: int, _directory: Path) -> float:
    """AES-256-CBC encryption in memory, by pycryptodome."""
    return _cbc(size, 32)


LIMITS: dict[str, Callable[[int, Path], float]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        tcp, write, write_and_sync, write_direct, gcm_pycryptodome, gcm_cryptography, sha256,
        cbc_128, cbc_256,
    )
}  # fmt: skip


def main() -> None:
    """Does one thing and prints how many seconds it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=LIMITS)
    parser.add_argument("bytes", type=int, help="how much, a multiple of 1 MiB")
    parser.add_argument("directory", type=Path, nargs="?", default=Path(), help="for files")
    options = parser.parse_args()
    print(LIMITS[options.name](options.bytes, options.directory))


if __name__ == "__main__":
    main()

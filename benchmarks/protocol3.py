"""Protocol 3 end to end over loopback: speed beside AES-CBC alone, peak memory, 50 clients at once.

Run as `python -m benchmarks.protocol3`; prints a Markdown table. Every transfer is durable and its
stored bytes are compared with the source. Nothing else should run on the machine.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from Crypto.Cipher import AES

from protocol.generations import GENERATIONS

MIB = 2**20
_PIECE_BYTES = MIB


@dataclass
class Server:
    """A server process; its peak memory in MiB is known once it has ended."""

    process: subprocess.Popen[str]
    port: int
    data: Path
    fingerprint: str
    peak: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def serving(directory: Path, generation: str, *flags: str) -> Iterator[Server]:
    """A server on a free port and fresh data, stopped at the end."""
    data = directory / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--port", "0", "--data", str(data), "--log-level",
         "warning", "--generation-1025", generation if generation.endswith("b") else "2024a",
         *flags],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    fingerprint = process.stdout.readline().split()[1]
    line = process.stdout.readline()
    server = Server(process, int(line.split(" port ")[1].split(",")[0]), data, fingerprint)
    try:
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        server.peak, server.cpu_seconds, _ = wait(process)
        process.stdout.close()


def start_client(directory: Path, name: str, server: Server, generation: str, source: Path) -> (
    subprocess.Popen[str]
):  # fmt: skip
    """A client process that sends `source` from a directory of its own."""
    directory.mkdir()
    (directory / "transfer.info").write_text(f"127.0.0.1:{server.port}\n{name}\n{source}\n")
    return subprocess.Popen(
        [sys.executable, "-m", "client", "--protocol", "3", "--quiet", "--json",
         "--generation", generation,
         "--directory", str(directory)],
        text=True, stdout=subprocess.PIPE,
    )  # fmt: skip


def wait(process: subprocess.Popen[str]) -> tuple[float, float, int]:
    """Peak memory in MiB, CPU seconds and exit status of an ended process."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, process.returncode


def aes_seconds(size: int, key_bytes: int) -> float:
    """Time that pycryptodome alone takes to encrypt `size` bytes with AES-CBC in memory."""
    cipher = AES.new(bytes(key_bytes), AES.MODE_CBC, bytes(16))
    plain = memoryview(bytearray(_PIECE_BYTES))
    out = memoryview(bytearray(_PIECE_BYTES))
    began = time.perf_counter()
    for _ in range(size // _PIECE_BYTES):
        cipher.encrypt(plain, output=out)
    return time.perf_counter() - began


def busy_seconds() -> float:
    """CPU seconds that the machine has worked since it started, for whomever."""
    user, nice, system, _, _, *interrupts = (
        Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    ticks = sum(map(int, (user, nice, system, *interrupts[:2])))
    return ticks / os.sysconf("SC_CLK_TCK")


def touch_memory(size: int) -> None:
    """First writes into a virtual machine's memory are slow; this makes the host hand it out.

    In a process of its own, since children inherit the peak that the kernel reports.
    """
    touch = f"m = bytearray({size}); m[::4096] = bytes([1]) * len(m[::4096])"
    subprocess.run([sys.executable, "-c", touch], check=True)


def make_source(path: Path, size: int) -> None:
    """A file of random bytes, in the page cache."""
    block = os.urandom(_PIECE_BYTES)
    with path.open("wb") as stream:
        for index in range(size // _PIECE_BYTES):
            stream.write(index.to_bytes(8, "little") + block[8:])


def compare(server: Server, source: Path, expected: int) -> None:
    """Fails unless `expected` files are stored and each is equal to the source."""
    stored = [path for path in server.data.glob("*/*") if len(path.parent.name) == 32]
    assert len(stored) == expected, f"{len(stored)} files stored, {expected} sent"
    for path in stored:
        subprocess.run(["cmp", source, path], check=True)


def one_file(directory: Path, generation: str, source: Path) -> str:
    """One transfer of the source; a row of the table."""
    size = source.stat().st_size
    alone = aes_seconds(size, GENERATIONS[generation].aes_key_bytes)
    with serving(directory, generation) as server:
        busy = busy_seconds()
        began = time.perf_counter()
        client = start_client(directory / "client", "bench", server, generation, source)
        peak, cpu_seconds, status = wait(client)
        seconds = time.perf_counter() - began
        busy = busy_seconds() - busy
        assert status == 0, f"the client ended with status {status}"
        assert client.stdout is not None
        transfer = json.loads(client.stdout.readline())["seconds"]
        client.stdout.close()
        compare(server, source, 1)
    # Its pages are warm and go to the next run; cold guest memory is ten times slower to write.
    shutil.rmtree(directory)
    alone = statistics.mean((alone, aes_seconds(size, GENERATIONS[generation].aes_key_bytes)))
    return (
        f"| {generation} | {size // MIB} MiB | {seconds:.2f} s | {transfer:.2f} s |"
        f" {size / transfer / 1e6:.0f} MB/s | {size / alone / 1e6:.0f} MB/s |"
        f" {alone / transfer:.2f} | {_share_of_others(busy, cpu_seconds, server, seconds):.0%} |"
        f" {cpu_seconds:.2f} +"
        f" {server.cpu_seconds:.2f} s | {peak:.0f} MiB | {server.peak:.0f} MiB |"
    )


def _share_of_others(busy: float, client: float, server: Server, seconds: float) -> float:
    """What other processes took of the processors, nearly: the server's start counts as its own."""
    processors = os.cpu_count() or 1
    return max(0.0, busy - client - server.cpu_seconds) / (seconds * processors)


def many_clients(directory: Path, clients: int, source: Path) -> str:
    """All clients at once, a process each; a line of text."""
    with serving(directory, "2023a") as server:
        began = time.perf_counter()
        processes = [
            start_client(directory / f"client{n}", f"bench{n}", server, "2023a", source)
            for n in range(clients)
        ]
        ended = [wait(process) for process in processes]
        for process in processes:
            assert process.stdout is not None
            process.stdout.close()
        seconds = time.perf_counter() - began
        failures = sum(status != 0 for _, _, status in ended)
        assert failures == 0, f"{failures} clients failed"
        compare(server, source, clients)
    return (
        f"{clients} clients at once, {source.stat().st_size // MIB} MiB each: {seconds:.2f} s,"
        f" {failures} failures, server's peak memory {server.peak:.0f} MiB"
    )


def main() -> None:
    """Runs everything and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="file size in MiB")
    parser.add_argument("--rounds", type=int, default=3, help="transfers of each generation")
    parser.add_argument("--clients", type=int, default=50, help="clients at once, 10 MiB each")
    parser.add_argument("--generations", nargs="+", default=["2023a", "2024c"])
    options = parser.parse_args()
    touch_memory(6 * options.size * MIB)
    print(
        "| generation | file | whole run | transfer | speed | AES-CBC alone | ratio | others |"
        " CPU client + server | client's peak memory | server's |\n" + "|---" * 11 + "|"
    )
    with tempfile.TemporaryDirectory(prefix="eft-bench-") as work:
        source = Path(work) / "source.bin"
        make_source(source, options.size * MIB)
        for round_number in range(options.rounds):
            for generation in options.generations:
                # Fresh directories: files made where others were just deleted are slower on ext4.
                directory = Path(work) / f"{generation}-{round_number}"
                directory.mkdir()
                print(one_file(directory, generation, source), flush=True)
        source.unlink()
        make_source(source, 10 * MIB)
        directory = Path(work) / "many"
        directory.mkdir()
        print("\n" + many_clients(directory, options.clients, source))


if __name__ == "__main__":
    main()

"""Protocol 4 over loopback: a very large file, very many small ones, time and peak memory.

Run as `python -m benchmarks.protocol4`; prints a Markdown table. Every transfer is durable and
receipted; what is fetched back is compared with the source.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.protocol3 import MIB, Server, serving, wait

_SMALL_BYTES = 4096
_FILES_PER_DIRECTORY = 1000


def run_client(server: Server, state: Path, *arguments: str) -> tuple[float, float]:
    """Runs one command of the client; seconds and peak memory in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "client", "--server", f"127.0.0.1:{server.port}", "--quiet",
         "--fingerprint", server.fingerprint, "--directory", str(state), *arguments],
        text=True,
    )  # fmt: skip
    peak, _, status = wait(process)
    assert status == 0, f"{arguments[0]} ended with status {status}"
    return time.perf_counter() - began, peak


def large(work: Path, size: int) -> list[str]:
    """One file of `size` bytes there and back; rows of the table."""
    source, state, copy = work / "large", work / "state", work / "copy"
    with source.open("wb") as stream:
        stream.truncate(size)
    with serving(work, "2023a", "--registration", "open") as server:
        run_client(server, state, "register", "bench")
        put, put_peak = run_client(server, state, "put", str(source))
        got, get_peak = run_client(server, state, "get", "large", str(copy))
    subprocess.run(["cmp", source, copy], check=True)
    name = f"one file of {size // MIB} MiB"
    return [
        f"| put {name} | {put:.1f} s | {size / put / 1e6:.0f} MB/s | {put_peak:.0f} MiB"
        f" | {server.peak:.0f} MiB |",
        f"| get {name} | {got:.1f} s | {size / got / 1e6:.0f} MB/s | {get_peak:.0f} MiB"
        f" | {server.peak:.0f} MiB |",
    ]


def small(work: Path, files: int) -> list[str]:
    """A directory of many small files there; a row of the table."""
    source, state = work / "small", work / "state"
    for number in range(files):
        directory = source / str(number // _FILES_PER_DIRECTORY)
        if number % _FILES_PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / str(number)).write_bytes(number.to_bytes(8, "little") * (_SMALL_BYTES // 8))
    with serving(work, "2023a", "--registration", "open") as server:
        run_client(server, state, "register", "bench")
        seconds, peak = run_client(server, state, "put", str(source))
        listed = subprocess.run(
            [sys.executable, "-m", "server", "--data", str(server.data), "files", "list", "--json"],
            stdout=subprocess.PIPE, check=True,
        ).stdout.count(b"\n")  # fmt: skip
        assert listed == files, f"{listed} files stored, {files} sent"
    return [
        f"| put a directory of {files} files of 4 KiB | {seconds:.1f} s"
        f" | {files / seconds:.0f} files/s"
        f" | {peak:.0f} MiB | {server.peak:.0f} MiB |"
    ]


def main() -> None:
    """Runs everything and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20 * 1024, help="file size in MiB")
    parser.add_argument("--files", type=int, default=100_000, help="number of small files")
    options = parser.parse_args()
    print("| what | time | speed | client's peak memory | server's |\n" + "|---" * 5 + "|")
    for measure, count in ((large, options.size * MIB), (small, options.files)):
        if not count:
            continue
        work = Path(tempfile.mkdtemp(prefix="eft-bench-"))
        try:
            for row in measure(work, count):
                print(row, flush=True)
        finally:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()

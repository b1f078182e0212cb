"""Measures this project beside what people use: `python -m benchmarks --help`."""

from benchmarks.command_line import main

if __name__ == "__main__":
    main()

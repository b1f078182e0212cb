"""Hostile load, many connections and long mixed load against a real server process.

Each has a command, `python -m tests.load.flood`, `.connections` and `.soak`, and a short form in
the normal suite. What they measure goes to docs/reliability/load.json and the table made from it.
"""

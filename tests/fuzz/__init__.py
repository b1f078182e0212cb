"""Coverage-guided fuzzing of every parser and of the sessions of both protocols.

`targets/` has one small module for each target, `corpus/` the inputs that are worth keeping, which
the normal suite replays. `python -m tests.fuzz --help` tells how to run it for longer.
"""

"""What can go wrong with a benchmark."""


class BenchmarkError(Exception):
    """The benchmark cannot run; the text says why and what to do."""


class RunFailed(BenchmarkError):
    """One run gave no figure: a command failed, or what arrived is not what was sent."""

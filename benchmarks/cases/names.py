"""Further figures that cases give beside times, by the names that tables show."""

AGAIN = "MiB sent again"
"""After an interruption, beyond what an uninterrupted transfer takes on the wire."""
FAILED = "clients that failed"
WHOLE = "seconds with start"
"""Where the seconds of a run are only a part: those of the whole process."""

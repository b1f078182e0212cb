"""The commands of `python -m client`: each module has `add`, its arguments, and `run`.

Whatever takes time to import (cryptography, TLS, the progress bar) is imported inside the
functions that need it, so that `--help`, completion and protocol 3 start fast.
"""

"""What travels between client and server: bytes to typed messages and back, nothing else."""

__version__ = "0.1.0"

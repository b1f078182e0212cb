"""The client: holds an identity and sends files, as `python -m client` or piece by piece."""

"""Byte-exact sessions of protocol 3; see README.md."""

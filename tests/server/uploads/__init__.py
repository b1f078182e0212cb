"""Uploads of protocol 4: what is acknowledged is whole, what fails leaves nothing behind."""

"""Errors of the wire formats."""


class ProtocolError(Exception):
    """The peer sent bytes that break the protocol; the connection cannot go on."""


class ContentTooLarge(ProtocolError):
    """A message announces more file content than the receiver accepts."""


class BadSegment(ProtocolError):
    """A segment of protocol 4 whose size does not fit its place: *bad segment*, not *protocol*."""


class UnsafeName(ProtocolError):
    """A client or file name that must not be stored: the sender chooses another one."""

"""The recorded sessions of protocol 3 as raw material for inputs."""

from functools import cache

from tests.vectors.load import Direction, Message, Session, load_all


@cache
def sessions() -> tuple[Session, ...]:
    """All of them."""
    return tuple(load_all())


@cache
def messages(direction: Direction) -> tuple[Message, ...]:
    """Every different message of one direction."""
    found = {message.data: message for session in sessions() for message in session.sent(direction)}
    return tuple(found.values())


def streams(direction: Direction) -> list[bytes]:
    """What one side sent in each session."""
    return [b"".join(message.data for message in one.sent(direction)) for one in sessions()]

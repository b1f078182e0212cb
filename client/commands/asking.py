"""Questions to the person at the terminal, if there is one."""

import os
from pathlib import Path

_TERMINAL = Path("/dev/tty")


def ask(text: str) -> str | None:
    """The answer, None when nobody is there to ask.

    It is the terminal that is asked and not stdin, which may hold a file to send.
    """
    if not _attended():
        return None
    with _TERMINAL.open("w") as shown, _TERMINAL.open(errors="replace") as typed:
        shown.write(text)
        shown.flush()
        return typed.readline().strip()


def ask_secret(text: str) -> str | None:
    """As `ask`, without showing what is typed."""
    if not _attended():
        return None
    import getpass

    try:
        return getpass.getpass(text).strip()
    except EOFError:
        return ""


def confirm(question: str) -> bool:
    """Whether somebody answers yes."""
    return (ask(f"{question} (yes/no)? ") or "").lower() == "yes"


def ask_about_server(server: str, fingerprint: str) -> bool:
    """Whether somebody says, as to ssh, that a server that is not known is to be trusted."""
    question = (
        f"The authenticity of server {server} can't be established.\n"
        f"The fingerprint of its certificate is {fingerprint}.\n"
        "Continue connecting (yes/no/[fingerprint])? "
    )
    while answer := ask(question):
        if answer.lower() == "yes" or answer == fingerprint:
            return True
        if answer.lower() == "no":
            return False
        question = "Please type 'yes', 'no' or the fingerprint: "
    return False


def _attended() -> bool:
    """Whether there is a terminal, and this process may read from it."""
    try:
        terminal = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        # Reading in the background would stop this process until somebody notices.
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

"""What a refusal of the server becomes for the user."""

import pytest

from client.refusals import refusal
from protocol.messages4 import Reason, Refused


@pytest.mark.parametrize(
    ("reason", "text", "told"),
    [
        (Reason.NOT_FOUND, "there is no file 'f'", "there is no file 'f'"),
        (Reason.NOT_FOUND, "", "the server has no file of this name"),
        (Reason.EXISTS, "'f' is there already", "'f' is there already"),
        (Reason.QUOTA, "1 file", "this client may not store that much (1 file)"),
        (Reason.NOT_FOUND, "\x1b[31m'f'", "?[31m'f'"),
    ],
)
def test_what_is_not_there_is_told_once_and_steers_no_terminal(
    reason: Reason, text: str, told: str
) -> None:
    assert str(refusal(Refused(reason, 0, text))) == told

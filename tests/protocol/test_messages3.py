"""Requests and responses, and the fixed part of their payloads."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given

from protocol.errors import ProtocolError
from protocol.messages3 import (
    MAX_IGNORED_BYTES,
    MAX_WRAPPED_KEY_BYTES,
    PUBLIC_KEY_BYTES,
    FileReceived,
    GeneralError,
    KeyAccepted,
    MessageReceived,
    Reconnected,
    ReconnectRefused,
    Register,
    Registered,
    RegistrationFailed,
    Request,
    ResendNoted,
    Response,
    SendFile,
    SendPacket,
    SendPublicKey,
)
from tests.protocol import samples, strategies
from tests.protocol.samples import CLIENT_ID
from tests.protocol.specification import REQUEST_BYTES, RESPONSE_BYTES

SAMPLES = samples.REQUESTS + samples.RESPONSES
Message = Request | Response
GARBAGE = b"\xcc\xfe\xab"


def test_every_message_has_a_sample() -> None:
    assert {type(message) for message, _ in SAMPLES} == {*REQUEST_BYTES, *RESPONSE_BYTES}


@pytest.mark.parametrize(("message", "golden"), SAMPLES, ids=samples.label)
def test_a_message_packs_to_these_bytes(message: Message, golden: str) -> None:
    assert message.pack().hex() == golden


@pytest.mark.parametrize(("message", "golden"), SAMPLES, ids=samples.label)
def test_these_bytes_unpack_to_the_message(message: Message, golden: str) -> None:
    if isinstance(message, SendPublicKey):  # the key's length is not on the wire
        message = SendPublicKey(message.name, message.public_key.ljust(160, b"\0"))
    assert type(message).unpack(bytes.fromhex(golden)) == message


@strategies.many
@given(strategies.requests)
def test_a_request_survives_its_bytes(request_: Request) -> None:
    assert type(request_).unpack(request_.pack()) == request_


@strategies.many
@given(strategies.responses)
def test_a_response_survives_its_bytes(response: Response) -> None:
    assert type(response).unpack(response.pack()) == response


@pytest.mark.parametrize("message", [SendPublicKey, SendFile, SendPacket, FileReceived])
def test_integers_are_little_endian_and_unpadded_on_every_machine(
    message: type[SendPublicKey | SendFile | SendPacket | FileReceived],
) -> None:
    assert message.LAYOUT.format.startswith("<")


@pytest.mark.parametrize(("message", "size"), REQUEST_BYTES.items())
def test_a_requests_fixed_part_has_the_specified_size(message: type[Request], size: int) -> None:
    assert size == message.SIZE


@pytest.mark.parametrize(("message", "sizes"), RESPONSE_BYTES.items())
def test_a_responses_payload_has_the_specified_sizes(
    message: type[Response], sizes: tuple[int, int]
) -> None:
    assert sizes == (message.MIN_SIZE, message.MAX_SIZE)


def test_a_public_key_is_160_bytes_and_what_has_no_fixed_size_is_bounded() -> None:
    assert (PUBLIC_KEY_BYTES, MAX_WRAPPED_KEY_BYTES, MAX_IGNORED_BYTES) == (160, 1024, 1024)


@pytest.mark.parametrize("message", REQUEST_BYTES)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_request_of_another_size_is_refused(message: type[Request], change: int) -> None:
    size = REQUEST_BYTES[message]
    what = "name field" if size == 255 else "payload"
    said = f"{what} of {size + change} bytes where {size} are expected"
    with pytest.raises(ProtocolError, match=said):
        message.unpack(b"a" * (size + change))


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Registered, "client id"),
        (MessageReceived, "client id"),
        (ReconnectRefused, "client id"),
        (FileReceived, "payload"),
    ],
)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_response_of_another_size_is_refused(
    message: type[Response], what: str, change: int
) -> None:
    size = RESPONSE_BYTES[message][0]
    said = f"{what} of {size + change} bytes where {size} are expected"
    with pytest.raises(ProtocolError, match=said):
        message.unpack(b"a" * (size + change))


@pytest.mark.parametrize("message", [KeyAccepted, Reconnected])
@pytest.mark.parametrize("size", [0, 15, 16])
def test_a_key_message_without_a_key_is_refused(
    message: type[KeyAccepted | Reconnected], size: int
) -> None:
    with pytest.raises(ProtocolError, match=f"^a key message of {size} bytes holds no key$"):
        message.unpack(b"a" * size)


@pytest.mark.parametrize("message", [RegistrationFailed, GeneralError, ResendNoted])
@pytest.mark.parametrize("payload", [b"", CLIENT_ID, GARBAGE])
def test_what_should_be_empty_may_hold_anything(message: type[Response], payload: bytes) -> None:
    assert message.unpack(payload) == message.unpack(b"")


@pytest.mark.parametrize("message", [Registered, MessageReceived, ReconnectRefused])
@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_response_with_a_client_id_of_another_length_is_not_sent(
    message: Callable[[bytes], Response], size: int
) -> None:
    with pytest.raises(ProtocolError, match=rf"^client id of {size} bytes where 16 are expected$"):
        message(bytes(size)).pack()


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_key_for_a_client_id_of_another_length_is_not_sent(size: int) -> None:
    with pytest.raises(ProtocolError, match=rf"^client id of {size} bytes where 16 are expected$"):
        KeyAccepted(bytes(size), b"key").pack()


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_receipt_for_a_client_id_of_another_length_is_not_sent(size: int) -> None:
    with pytest.raises(ProtocolError, match=rf"^client id of {size} bytes where 16 are expected$"):
        FileReceived(bytes(size), 1, "a", 1).pack()


@pytest.mark.parametrize(
    "message",
    [
        SendFile(-1, "a"),
        SendFile(2**32, "a"),
        SendPacket(2**32, 1, 1, 1, "a"),
        SendPacket(1, 2**32, 1, 1, "a"),
        SendPacket(1, 1, 2**16, 1, "a"),
        SendPacket(1, 1, 1, 2**16, "a"),
        FileReceived(CLIENT_ID, 2**32, "a", 1),
        FileReceived(CLIENT_ID, 1, "a", 2**32),
        FileReceived(CLIENT_ID, 1, "a", -1),
    ],
)
def test_a_number_beyond_its_field_is_not_sent(message: Message) -> None:
    with pytest.raises(ProtocolError, match=r"^a number does not fit its field: "):
        message.pack()


@pytest.mark.parametrize(
    "message",
    [
        Register("x" * 256),
        SendPublicKey("x" * 256, b"key"),
        SendFile(1, "x" * 256),
        SendPacket(1, 1, 1, 1, "x" * 256),
        FileReceived(CLIENT_ID, 1, "x" * 256, 1),
    ],
    ids=samples.label,
)
def test_a_name_beyond_its_field_is_not_sent(message: Message) -> None:
    with pytest.raises(ProtocolError, match="does not fit a field of 255 bytes"):
        message.pack()


@pytest.mark.parametrize("size", [161, 162, 1000])
def test_a_public_key_beyond_its_field_is_not_sent(size: int) -> None:
    with pytest.raises(ProtocolError, match=rf"^a public key of {size} bytes does not fit 160$"):
        SendPublicKey("Alice", bytes(size)).pack()


@pytest.mark.parametrize("size", [0, 1, 94, 159, 160])
def test_a_shorter_public_key_is_followed_by_zeros(size: int) -> None:
    sent = SendPublicKey("Alice", b"k" * size).pack()
    assert SendPublicKey.unpack(sent).public_key == b"k" * size + bytes(160 - size)


def test_garbage_after_a_name_is_ignored() -> None:
    assert Register.unpack(b"Alice\0" + GARBAGE * 83) == Register("Alice")


@pytest.mark.parametrize(("message", "golden"), SAMPLES, ids=samples.label)
def test_a_message_is_not_equal_to_one_of_another_kind(message: Message, golden: str) -> None:
    kinds = [type(other) for other, _ in SAMPLES if type(other) is not type(message)]
    others = []
    for kind in kinds:
        try:
            others.append(kind.unpack(bytes.fromhex(golden)))
        except ProtocolError:
            continue
    assert message not in others


@pytest.mark.parametrize(("message", "_golden"), SAMPLES, ids=samples.label)
def test_a_message_does_not_change(message: Message, _golden: str) -> None:
    for field in fields(message):
        with pytest.raises(FrozenInstanceError):
            setattr(message, field.name, None)


@pytest.mark.parametrize(("message", "_golden"), SAMPLES, ids=samples.label)
def test_a_message_holds_nothing_but_its_fields(message: Message, _golden: str) -> None:
    assert not hasattr(message, "__dict__")


@pytest.mark.parametrize(("message", "_golden"), SAMPLES, ids=samples.label)
def test_equal_messages_have_one_hash(message: Message, _golden: str) -> None:
    again = type(message)(*(getattr(message, field.name) for field in fields(message)))
    assert hash(again) == hash(message)

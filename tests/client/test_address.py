"""Where the server is, as users write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.address import Address, parse_address
from client.errors import BadInput


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:1234", "127.0.0.1", 1234),
        (" 127.0.0.1:1234 ", "127.0.0.1", 1234),
        ("[::1]:1", "::1", 1),
        ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        ("files.example.org:01234", "files.example.org", 1234),
        ("bücher.example:80", "bücher.example", 80),
        ("files.example.org.:80", "files.example.org.", 80),
        (f"{'a' * 63}.example:80", f"{'a' * 63}.example", 80),
    ],
)
def test_hosts_and_addresses_are_understood(text: str, host: str, port: int) -> None:
    assert parse_address(text, "here") == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        ":1234",
        "[]:1234",
        "host:",
        "host:0",
        "host:65536",
        "host:99999999999999999999",
        "host:000012345678",
        "host:001234",
        "host:-1",
        "host:+1",
        "host:١٢",
        "host:12x",
        "::1:1234",
        "a host:1234",
        "http://host:1234",
        "user@host:1234",
        "a..b:1234",
        f"{'a' * 64}:1234",
        f"{'ü' * 63}:1234",
        ".:1234",
        "a..:1234",
        "[::1:1234",
        "ho\x1bst:1234",
    ],
)
def test_what_is_no_address_is_refused_with_origin_and_remedy(text: str) -> None:
    with pytest.raises(BadInput, match=r"^transfer\.info, line 1: .*; write HOST:PORT"):
        parse_address(text, "transfer.info, line 1")


def test_ipv6_addresses_are_shown_with_brackets() -> None:
    assert str(Address("::1", 7)) == "[::1]:7"
    assert str(Address("localhost", 7)) == "localhost:7"


@given(st.text())
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    try:
        address = parse_address(text, "here")
    except BadInput:
        return
    assert parse_address(str(address), "here") == address

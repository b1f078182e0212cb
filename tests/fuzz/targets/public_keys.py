"""The public keys that clients hand over, in both protocols."""

from collections.abc import Iterable

from Crypto.PublicKey import RSA

from protocol.messages3 import PUBLIC_KEY_BYTES
from server.access import _check_public_key
from server.errors import AccessDenied, Refused
from server.keys import parse_public_key, wrap_for_client
from tests.fuzz.target import Target, must
from tests.vectors.load import HERE, load_private_key


def _run(data: bytes) -> None:
    _protocol3(data[:PUBLIC_KEY_BYTES].ljust(PUBLIC_KEY_BYTES, b"\0"))
    try:
        _check_public_key(data)
    except AccessDenied:
        return
    key = RSA.import_key(data)
    must(key.size_in_bits() == 3072 and key.e == 65537, "only RSA-3072 with 65537 registers")
    must(not key.has_private(), "no private key is stored")


def _protocol3(field: bytes) -> None:
    try:
        der = parse_public_key(field)
    except Refused:
        return
    must(field.startswith(der) and not any(field[len(der) :]), "a key is what the field holds")
    must(RSA.import_key(der).size_in_bytes() == 128, "only RSA-1024 is taken")
    try:
        wrapped = wrap_for_client(bytes(32), der)
    except Refused:
        return
    must(len(wrapped) == 128, "a wrapped key has the size of the modulus")


def _seeds() -> Iterable[bytes]:
    small = RSA.import_key(load_private_key())
    large = RSA.import_key((HERE / "protocol4_client_key.pem").read_text())
    yield small.public_key().export_key("DER")
    yield large.public_key().export_key("DER")
    yield large.export_key("DER")
    yield small.export_key("DER", pkcs=8)
    modulus = (1 << 1024) - 1
    for exponent in (1, 2, 3, 17, modulus, modulus + 2):
        odd = RSA.construct((modulus, exponent), consistency_check=False)
        yield odd.export_key("DER")


TARGET = Target("public_keys", "server/keys.py, access.py (keys)", _run, _seeds)

"""The identity files of protocol 4."""

from collections.abc import Iterable

from client.address import Address
from client.errors import BadState, BrokenProtocol, ChallengeNotOpened
from client.identity4 import Identities, load_key, public_key_der
from client.sealing4 import open_challenge
from protocol.names import check_client_name
from tests.fuzz import scratch
from tests.fuzz.target import Target, must
from tests.vectors.load import HERE

_ADDRESS = Address("127.0.0.1", 1234)
_QUOTED = 24


def _run(data: bytes) -> None:
    identities = Identities(scratch.directory("identity4"))
    path = identities.path(_ADDRESS)
    path.touch(0o600)
    path.write_bytes(data)
    try:
        identity = identities.load(_ADDRESS)
    except BadState as error:
        body = data.partition(b"-----")[2].decode("utf-8", "replace").splitlines()
        text = str(error)
        quoted = any(len(line) >= _QUOTED and line[:_QUOTED] in text for line in body)
        must(not quoted and "\n" not in text, "an error is one line and does not quote the key")
        return
    check_client_name(identity.name)
    must(len(identity.client_id) == 16, "a client id has 16 bytes")
    must(load_key(identity.private_key).key_size == 3072, "a key has 3072 bits")
    # A key is not validated when it is read: what does not fit shows where it is used.
    try:
        public_key_der(identity.private_key)
        open_challenge(identity.private_key, bytes(383) + b"\2", bytes(32), identity.client_id)
    except (ChallengeNotOpened, BrokenProtocol):
        return


def _seeds() -> Iterable[bytes]:
    pem = (HERE / "protocol4_client_key.pem").read_bytes()
    head = b"server: 127.0.0.1:1234\nname: alice\nclient id: 00112233445566778899aabbccddeeff\n"
    yield head + pem
    yield pem
    yield head
    yield head.replace(b"alice", b"\xe2\x80\xae") + pem
    yield head + pem[:700]
    yield head + b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"


TARGET = Target(
    "identity4", "client/identity4.py, sealing4.py (keys)", _run, _seeds, max_bytes=4096
)

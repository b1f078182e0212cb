"""me.info, me.info.new and priv.key, as a user may have edited or a disk damaged them."""

import base64
from collections.abc import Iterable

from client.errors import BadIdentity
from client.identity import ME_INFO, ME_INFO_NEW, PRIV_KEY, IdentityStore
from protocol.names import check_client_name
from tests.fuzz import scratch
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must
from tests.vectors.load import load_private_key

_QUOTED = 24


def _run(data: bytes) -> None:
    choices = Choices(data)
    key, info = choices.take(choices.number(2) % 1024), choices.rest()
    directory = scratch.directory("identity3")
    for name, content in ((ME_INFO, info), (ME_INFO_NEW, info), (PRIV_KEY, key)):
        (directory / name).write_bytes(content)
    store = IdentityStore(directory)
    for load in (store.load, store.load_unfinished):
        try:
            identity = load()
        except BadIdentity as error:
            _check_silent(str(error), info, key)
            continue
        if identity is None:
            must(False, "a file that is there is read")
            continue
        check_client_name(identity.name)
        must(len(identity.client_id) == 16, "a client id has 16 bytes")


def _check_silent(text: str, info: bytes, key: bytes) -> None:
    name, *others = info.decode("utf-8", "replace").splitlines() or [""]
    secrets = [*others[1:], *key.decode("utf-8", "replace").splitlines()]
    quoted = any(
        len(line) >= _QUOTED and line[:_QUOTED] in text and line[:_QUOTED] not in name
        for line in secrets
    )
    must(not quoted, "an error does not quote what may be a key")
    must("\n" not in text, "an error is one line")


def _seeds() -> Iterable[bytes]:
    key = base64.b64encode(load_private_key())
    head = b"Miriam Cohen\n3f2504e04f8941d39a0c0305e82c3301\n"
    yield len(key).to_bytes(2, "little") + key + head
    yield b"\0\0" + head + key + b"\n"
    yield b"\0\0" + head + b"\n".join(key[at : at + 64] for at in range(0, len(key), 64))
    yield b"\3\0abc" + head + b"####"
    yield b"\0\0\xef\xbb\xbf" + head.replace(b"\n", b"\r\n")
    yield b"\0\0"


TARGET = Target("identity3", "client/identity.py", _run, _seeds)

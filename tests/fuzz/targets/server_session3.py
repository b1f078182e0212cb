"""The server's side of protocol 3: conversations put together from recorded messages.

An input's bytes choose recorded messages, whole or altered, files under the session's own key, raw
bytes, pieces, and new connections.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from protocol.cksum import Cksum
from protocol.decoder import ResponseDecoder
from protocol.generations import GENERATION_2023A, GENERATION_2024C, Generation
from protocol.messages3 import ChecksumValid, SendFile, SendPacket
from server import keys, session3
from server.session3 import Services, Session3
from tests.fuzz import recorded, serverside
from tests.fuzz.choices import Choices
from tests.fuzz.replacing import replaced
from tests.fuzz.target import Target, must
from tests.peer import crypto

_NAMES = ("a", "b", "greeting.txt", "..", "CON", "\u05e9")
_CONTENTS = (b"", b"x", b"x" * 16, b"y" * 100, bytes(4096), b"Seventy-one bytes")
_SHARED = ("2023b", "2024a")


_wrap = lru_cache(16)(keys.wrap_for_client)
_parse = lru_cache(16)(keys.parse_public_key)


def _client_id() -> bytes:
    return recorded.sessions()[0].client_id


def _aes_key(size: int) -> bytes:
    return bytes(range(0xC0, 0xC0 + size))


class _Conversation:
    """Connections of one client, one after the other, and what the server answers to them."""

    def __init__(self, services: Services, choices: Choices) -> None:
        self._services = services
        self._choices = choices
        self._step = 0
        self._connect()

    def _connect(self) -> None:
        self._session = Session3(self._services, serverside.ADDRESS)
        self.answers = bytearray()

    def close(self) -> None:
        self._session.close()
        _check_answers(bytes(self.answers))

    def run(self) -> None:
        choices = self._choices
        while choices.left:
            match choices.byte() % 8:
                case 0 | 1:
                    self._feed(choices.pick(recorded.messages(">")).data)
                case 2:
                    self._feed(self._altered(choices.pick(recorded.messages(">")).data))
                case 3:
                    self._feed(b"".join(self._file()))
                case 4:
                    self._feed(self._altered(b"".join(self._file())))
                case 5:
                    self._feed(choices.some())
                case 6:
                    self._step = choices.byte()
                case _:
                    self.close()
                    self._connect()

    def _altered(self, message: bytes) -> bytes:
        altered = bytearray(message)
        for _ in range(1 + self._choices.byte() % 3):
            altered[self._choices.number(2) % len(altered)] = self._choices.byte()
        return bytes(altered)

    def _file(self) -> Iterator[bytes]:
        """A file that decrypts, whole or in packets, and perhaps its verdict."""
        choices = self._choices
        generation = choices.pick((GENERATION_2023A, GENERATION_2024C))
        client_id = _client_id()
        name, content = choices.pick(_NAMES), choices.pick(_CONTENTS)
        sealed = crypto.encrypt(_aes_key(generation.aes_key_bytes), content)
        if generation.in_packets:
            yield from _packets(generation, client_id, name, len(content), sealed, choices.byte())
        else:
            request = SendFile(len(sealed), name)
            yield generation.pack_request(client_id, request, len(sealed)) + sealed
        if choices.byte() % 2:
            yield generation.pack_request(client_id, ChecksumValid(name))

    def _feed(self, data: bytes) -> None:
        step = self._step or max(len(data), 1)
        for start in range(0, len(data), step):
            rest = memoryview(data)[start : start + step]
            while rest and not self._session.ended:
                space = self._session.writable()
                must(len(space) <= 1 << 20, "no buffer is larger than a piece")
                taken, rest = rest[: len(space)], rest[len(space) :]
                space[: len(taken)] = taken
                for answer in self._session.written(len(taken)):
                    self.answers += answer
        if self._session.ended:
            self.close()
            self._connect()


def _packets(
    generation: Generation, client_id: bytes, name: str, size: int, sealed: bytes, step: int
) -> Iterator[bytes]:
    slices = [sealed[at : at + 16 + step] for at in range(0, len(sealed), 16 + step)]
    for number, piece in enumerate(slices[:8], 1):
        packet = SendPacket(len(sealed), size, number, len(slices), name)
        yield generation.pack_request(client_id, packet, len(piece)) + piece


def _check_answers(answers: bytes) -> None:
    """Each is well-formed in the generation that its code belongs to."""
    while answers:
        code = int.from_bytes(answers[1:3], "little")
        generation = GENERATION_2023A if code >= 2000 else GENERATION_2024C
        size = 7 + int.from_bytes(answers[3:7], "little")
        decoded = list(ResponseDecoder(generation).feed(answers[:size]))
        must(len(decoded) == 1, "every answer is a whole one")
        answers = answers[size:]


def _check_kept(services: Services) -> None:
    for client in services.repository.clients():
        for file in services.repository.files(client.id):
            content = serverside.content(file)
            cksum = Cksum()
            cksum.update(memoryview(content))
            must(len(content) == file.size, "a visible file has the size that was checked")
            must(cksum.value == file.cksum, "a visible file has the checksum that was told")
            must(file.name not in (".", ".."), "no visible file has an unsafe name")
    must(not services.receiver.quota._reservations, "no room stays reserved")
    must(not serverside.staged(), "nothing stays staged")


# Recorded ids and keys in the place of random ones; RSA once for each key.
_RECORDED = {
    "new_client_id": _client_id, "new_aes_key": _aes_key,
    "wrap_for_client": _wrap, "parse_public_key": _parse,
}  # fmt: skip


def _run(data: bytes) -> None:
    choices = Choices(data)
    flags = choices.byte()
    reuse = 60.0 if flags & 2 else 0.0
    with (
        replaced(session3, **_RECORDED),
        serverside.services3(_SHARED[flags & 1], reuse) as services,
    ):
        conversation = _Conversation(services, choices)
        try:
            conversation.run()
        finally:
            conversation.close()
            services.key_table.clear()
        _check_kept(services)


def _seeds() -> Iterable[bytes]:
    pool = [message.data for message in recorded.messages(">")]
    for session in recorded.sessions():
        flags = _SHARED.index(session.generation) if session.generation in _SHARED else 0
        steps = [bytes((0, pool.index(message.data))) for message in session.sent(">")]
        yield bytes((flags,)) + b"".join(steps)
        yield bytes((flags, 6, 17)) + b"".join(steps)
        yield bytes((flags | 2,)) + b"\7".join(steps)
        start = b"".join(steps[:2])
        yield bytes((flags,)) + start + bytes((3, 0, 0, 2, 1)) + bytes((3, 1, 0, 3, 0, 1))
        yield bytes((flags,)) + start + bytes((4, 0, 0, 4, 0, 1, 30, 0, 9, 3, 1, 3, 4, 20, 1))


TARGET = Target(
    "server_session3",
    "server/session3.py, content3.py, opening.py, receiving.py",
    _run,
    _seeds,
    max_bytes=256,
)

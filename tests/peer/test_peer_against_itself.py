"""`PeerClient` against `PeerServer`: the peer must be trusted before the product meets it."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import client as peer
from tests.peer import crypto, wire
from tests.peer.behaviour import NO_ANSWER_OF_OURS, Behaviour, Do, Fault, SendingAgain
from tests.peer.cksum import cksum
from tests.peer.client import PeerClient, RunResult
from tests.peer.generations import GENERATIONS, REQUEST_KINDS
from tests.peer.server import PeerServer
from tests.peer.style import Packets, Style

ALL = list(GENERATIONS)
IN_PACKETS = ["2024a", "2024c"]
CONTENT = bytes(range(256)) * 10 + b"and no whole number of blocks"
FIRST_RUN = ["register", "public_key", "send_file", "crc_valid"]

every_generation = pytest.mark.parametrize("generation", ALL)


def run(
    server: PeerServer,
    style: Style | None = None,
    *,
    key: rsa.RSAPrivateKey | None = None,
    name: str = "peer",
    file_name: str = "file.bin",
    content: bytes = CONTENT,
) -> tuple[RunResult, PeerClient]:
    """A whole run of a new client; when it returns, the server has served it to its end."""
    with PeerClient(
        server.port, server.generation.name, name=name, style=style, private_key=key
    ) as client:
        result = client.run(file_name, content)
    server.settle()
    return result, client


@every_generation
@pytest.mark.parametrize("content", [b"", b"x", b"x" * 16, CONTENT], ids=len)
def test_a_run(generation: str, content: bytes, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation) as server:
        result, client = run(server, Style(packet_size=4096), key=key, content=content)
        assert result == RunResult(verified=True, registered=True, times_sent=1)
        assert server.files == {("peer", "file.bin"): content}
        assert server.kinds == FIRST_RUN
        assert server.violations == client.violations == []


@every_generation
def test_a_second_run_reconnects(generation: str) -> None:
    with PeerServer(generation) as server:
        _, client = run(server)
        first_key = client.aes_key
        with client:
            result = client.run("other.bin", b"other")
        server.settle()
        assert result == RunResult(verified=True, registered=False, times_sent=1)
        assert client.aes_key != first_key
        assert server.files["peer", "other.bin"] == b"other"
        assert "reconnect" in server.kinds
        assert server.violations == client.violations == []


@every_generation
def test_a_client_known_earlier_reconnects(generation: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation) as server:
        client_id = server.add_client("peer", key.public_key())
        with PeerClient(server.port, generation, client_id=client_id, private_key=key) as client:
            assert not client.run("file.bin", CONTENT).registered
        server.settle()
        assert server.violations == client.violations == []


@every_generation
def test_a_refused_client_registers_again(generation: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation, Behaviour(refuse_reconnects=True)) as server:
        old = server.add_client("peer", key.public_key())
        with PeerClient(server.port, generation, client_id=old, private_key=key) as client:
            assert client.run("file.bin", CONTENT).registered
        server.settle()
        assert client.client_id != old
        assert server.kinds[:3] == ["reconnect", "register", "public_key"]
        assert server.violations == client.violations == []


@every_generation
def test_a_stranger_is_refused(generation: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation) as server:
        stranger = PeerClient(server.port, generation, client_id=b"i" * 16, private_key=key)
        with stranger, pytest.raises(peer.ReconnectRefused):
            stranger.reconnect()


CLEAN_STYLES = [
    Style(packet_size=1000),
    Style(packet_size=16),
    Style(garbage_id_when_registering=True),
    Style(piece_size=1),
    Style(piece_size=7, packet_size=100),
]


@every_generation
@pytest.mark.parametrize("style", CLEAN_STYLES, ids=repr)
def test_styles_within_the_specification(
    generation: str, style: Style, key: rsa.RSAPrivateKey
) -> None:
    with PeerServer(generation) as server:
        run(server, style, key=key)
        assert server.files == {("peer", "file.bin"): CONTENT}
        assert server.violations == []


@every_generation
@pytest.mark.parametrize(
    ("style", "violation"),
    [
        (Style(garbage_after_nul=True), "name field not filled with zeros"),
        (Style(public_key_bits=1023), "public key of 159 bytes"),
    ],
)
def test_deviations_are_accepted_and_told(generation: str, style: Style, violation: str) -> None:
    with PeerServer(generation) as server:
        run(server, style)
        assert server.files == {("peer", "file.bin"): CONTENT}
        assert any(violation in told for told in server.violations)


@every_generation
def test_names_of_255_bytes(generation: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation) as server:
        name, file_name = "n" * 255, "f" * 255
        style = Style(unterminated_names=True)
        run(server, style, key=key, name=name, file_name=file_name)
        assert server.files == {(name, file_name): CONTENT}
        assert {told.partition(": ")[2] for told in server.violations} == {
            "name without terminator"
        }


@pytest.mark.parametrize("generation", IN_PACKETS)
@pytest.mark.parametrize("size", [16, 100, 1000, 2589, 5000])
@pytest.mark.parametrize(
    ("packets", "violation"),
    [
        (Packets.OWN_CIPHERTEXTS, "each packet its own ciphertext"),
        (Packets.FILLED_SLICES, "last packet filled up beyond the content size"),
    ],
)
def test_deviating_packets(
    generation: str, size: int, packets: Packets, violation: str, key: rsa.RSAPrivateKey
) -> None:
    with PeerServer(generation) as server:
        run(server, Style(packets, packet_size=size), key=key)
        assert server.files == {("peer", "file.bin"): CONTENT}
        one_packet = packets is Packets.OWN_CIPHERTEXTS and size >= len(CONTENT)
        # Of 2592 bytes of ciphertext, slices of 16 leave no rest to fill up.
        no_rest = packets is Packets.FILLED_SLICES and size == 16
        told = [] if one_packet or no_rest else [f"connection 1: {violation}"]
        assert server.violations == told


@every_generation
@pytest.mark.parametrize("answer", list(SendingAgain))
@pytest.mark.parametrize("wrong", [1, 3])
def test_sending_again(
    generation: str, answer: SendingAgain, wrong: int, key: rsa.RSAPrivateKey
) -> None:
    behaviour = Behaviour(sending_again=answer, wrong_checksums=wrong)
    with PeerServer(generation, behaviour) as server:
        result, client = run(server, Style(packet_size=4096), key=key)
        assert result == RunResult(verified=True, registered=True, times_sent=wrong + 1)
        assert server.kinds[2:] == ["send_file", "crc_invalid"] * wrong + ["send_file", "crc_valid"]
        assert server.files == {("peer", "file.bin"): CONTENT}
        assert server.violations == []
        assert bool(client.violations) is (answer is not SendingAgain.NOTHING)


@every_generation
@pytest.mark.parametrize("answer", list(SendingAgain))
def test_giving_up(generation: str, answer: SendingAgain, key: rsa.RSAPrivateKey) -> None:
    behaviour = Behaviour(sending_again=answer, wrong_checksums=4)
    with PeerServer(generation, behaviour) as server:
        result, _ = run(server, Style(packet_size=4096), key=key)
        assert result == RunResult(verified=False, registered=True, times_sent=4)
        assert server.kinds[-1] == "crc_abandoned"
        assert server.kinds.count("crc_invalid") == 3
        assert server.files == {}
        assert server.violations == []


@every_generation
@pytest.mark.parametrize("wrong", [1, 3, 4])
def test_a_client_that_miscounts(generation: str, wrong: int, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation) as server:
        result, _ = run(server, Style(wrong_crc=wrong), key=key)
        assert result.verified is (wrong < 4)
        assert bool(server.files) is (wrong < 4)
        assert len(server.violations) == wrong
        assert all("although the checksum sent was right" in v for v in server.violations)


@every_generation
@pytest.mark.parametrize("kind", ["register", "public_key", "send_file", "crc_valid"])
@pytest.mark.parametrize("with_id", [False, True])
def test_general_errors(generation: str, kind: str, with_id: bool, key: rsa.RSAPrivateKey) -> None:
    behaviour = Behaviour(general_errors={kind: 3}, refusals_with_id=with_id)
    with PeerServer(generation, behaviour) as server:
        result, client = run(server, key=key)
        assert result.verified
        assert server.violations == []
        assert len(client.violations) == (3 if with_id else 0)


@every_generation
@pytest.mark.parametrize("kind", ["register", "public_key", "send_file", "crc_valid"])
def test_too_many_general_errors(generation: str, kind: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation, Behaviour(general_errors={kind: 4})) as server:
        with pytest.raises(peer.Fatal):
            run(server, Style(packet_size=4096), key=key)
        server.settle()
        assert server.kinds.count(kind) == 4
        assert server.violations == []
        assert server.files == {}


@every_generation
@pytest.mark.parametrize("with_id", [False, True])
def test_registration_failed(generation: str, with_id: bool) -> None:
    behaviour = Behaviour(refuse_registration=True, refusals_with_id=with_id)
    with PeerServer(generation, behaviour) as server, pytest.raises(peer.RegistrationFailed):
        run(server)


@every_generation
def test_answers_in_single_bytes(generation: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer(generation, Behaviour(answer_piece=1)) as server:
        result, _ = run(server, key=key)
        assert result.verified


@pytest.mark.parametrize("do", [Do.CLOSE_AT_HEADER, Do.CLOSE_INSTEAD, Do.CLOSE_HALFWAY])
@pytest.mark.parametrize("kind", FIRST_RUN)
def test_closing(do: Do, kind: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer("2024c", Behaviour(faults=(Fault(do, kind),))) as server:
        with pytest.raises((wire.ConnectionEnded, ConnectionError)):
            run(server, key=key)
        server.settle()
        # The fault falls upon the first such request only.
        assert run(server, key=key)[0].verified


def test_closing_between_packets(key: rsa.RSAPrivateKey) -> None:
    faults = (Fault(Do.CLOSE_AT_HEADER, "send_file", nth=2),)
    with PeerServer("2024a", Behaviour(faults=faults)) as server:
        with pytest.raises((wire.ConnectionEnded, ConnectionError)):
            run(server, Style(packet_size=100), key=key)
        server.settle()
        assert server.kinds.count("send_file") == 1


def test_closing_after_the_answer(key: rsa.RSAPrivateKey) -> None:
    faults = (Fault(Do.CLOSE_AFTER, "crc_valid"),)
    with PeerServer("2023a", Behaviour(faults=faults)) as server:
        result, _ = run(server, key=key)
        assert result.verified


def test_closing_after_sending_again(key: rsa.RSAPrivateKey) -> None:
    faults = (Fault(Do.CLOSE_AFTER, "crc_invalid", nth=2),)
    with PeerServer("2023a", Behaviour(faults=faults, wrong_checksums=4)) as server:
        with pytest.raises((wire.ConnectionEnded, ConnectionError)):
            run(server, key=key)
        server.settle()
        assert server.kinds.count("crc_invalid") == 2


def test_closing_at_once() -> None:
    with (
        PeerServer("2023a", Behaviour(close_on_accept=True)) as server,
        pytest.raises((wire.ConnectionEnded, ConnectionError)),
    ):
        run(server)


@pytest.mark.parametrize("kind", ["register", "reconnect", "crc_valid"])
def test_silence(kind: str, key: rsa.RSAPrivateKey) -> None:
    with PeerServer("2023b", Behaviour(faults=(Fault(Do.SILENCE, kind),))) as server:
        client_id = server.add_client("peer", key.public_key())
        if kind == "register":
            client = PeerClient(server.port, "2023b", timeout=0.2)
        else:
            client = PeerClient(
                server.port, "2023b", client_id=client_id, private_key=key, timeout=0.2
            )
        with client, pytest.raises(TimeoutError):
            client.run("file.bin", CONTENT)


def test_garbage() -> None:
    faults = (Fault(Do.GARBAGE, "register"), Fault(Do.GARBAGE, "register", nth=2, data=b"?"))
    with PeerServer("2023a", Behaviour(faults=faults)) as server:
        with PeerClient(server.port) as client, pytest.raises(peer.UnexpectedResponse):
            client.register()
        with PeerClient(server.port, timeout=0.2) as client, pytest.raises(TimeoutError):
            client.register()


def test_the_default_garbage_is_no_response() -> None:
    version, code, size = wire.RESPONSE_HEADER.unpack(NO_ANSWER_OF_OURS[:7])
    assert version != 3
    assert code == 62193
    assert size > peer.LARGEST_RESPONSE


def test_a_fault_needs_a_kind_of_request() -> None:
    with pytest.raises(ValueError, match="no such kind"):
        PeerServer("2023a", Behaviour(faults=(Fault(Do.SILENCE, "sendfile"),)))


def test_kinds_are_the_names_of_the_codes() -> None:
    for generation in GENERATIONS.values():
        assert set(generation.requests.values()) == set(REQUEST_KINDS)
        assert all(getattr(generation, k) == c for c, k in generation.requests.items())


def test_small_keys_get_an_aes_key_that_fits() -> None:
    with PeerServer("2023a") as server:
        run(server, Style(public_key_bits=512))
        assert server.files == {("peer", "file.bin"): CONTENT}
    with PeerServer("2024a") as server, pytest.raises(peer.Fatal):
        run(server, Style(public_key_bits=512))


def test_steps_one_by_one(key: rsa.RSAPrivateKey) -> None:
    with PeerServer("2024a") as server:
        with PeerClient(server.port, "2024a", private_key=key) as client:
            assert client.register() == client.client_id
            assert client.send_public_key() == client.aes_key
            received = client.send_file("a", CONTENT)
            assert received.checksum == cksum(CONTENT)
            assert received.content_size == len(crypto.encrypt(bytes(32), CONTENT))
            client.crc_invalid("a")
            client.send_file("a", CONTENT)
            client.crc_valid("a")
            client.send_file("b", b"")
            client.crc_valid("b")
        server.settle()
        assert server.files == {("peer", "a"): CONTENT, ("peer", "b"): b""}
        assert len(server.violations) == 1

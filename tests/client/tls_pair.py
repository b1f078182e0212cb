"""Both ends of a TLS connection in one process."""

import socket
import ssl
import threading
from pathlib import Path

from protocol.channel import ALPN
from tests.client.relay import self_signed, server_context


def tls_pair(
    directory: Path, buffer_bytes: int | None = None
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """The client's end, as `client.trust` hands it over, and the server's."""
    pair = self_signed(directory)
    near, far = socket.socketpair()
    for end in (near, far):
        end.settimeout(10)
        if buffer_bytes is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    client = context.wrap_socket(near, suppress_ragged_eofs=False, do_handshake_on_connect=False)
    server = server_context(pair).wrap_socket(
        far, server_side=True, suppress_ragged_eofs=False, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.do_handshake)
    thread.start()
    client.do_handshake()
    thread.join()
    return client, server

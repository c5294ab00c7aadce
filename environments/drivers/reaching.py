"""A port of this host's loopback that leads to one inside a site, for clients that make their own sockets."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable

CHUNK_BYTES = 1 << 16
CONNECT_S = 10.0


class Reach:
    """Open until `close`. Management traffic of the suite: on no link, in no ledger."""

    def __init__(self, make: Callable[[int, int], socket.socket], port: int) -> None:
        """make: a socket inside the site, of a family and a kind; port: what listens there on loopback."""

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with make(socket.AF_INET, socket.SOCK_STREAM) as inside:
                    inside.settimeout(CONNECT_S)
                    try:
                        inside.connect(("127.0.0.1", port))
                    except OSError:
                        return  # the client finds its connection closed
                    inside.settimeout(None)
                    back = threading.Thread(target=_pump, args=(inside, self.request), daemon=True)
                    back.start()
                    _pump(self.request, inside)
                    back.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="reach", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; then the target hears of it."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

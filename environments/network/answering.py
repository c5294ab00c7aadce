"""The server that accepts everything, in the sentinel's namespace: TCP on any address and port, TLS by a stranger's CA.

Descriptor 0 is a socket to the router, which names a port before it passes the first packet to it. What callers say is
written to the file given as argument, a JSON line each: what would have been told to the internet, and whether TLS hid
it from a stranger (`trusted`: the client took a certificate for which nobody vouches). The CA's certificate is put
beside that file.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from environments.network import answers, dns, words
from environments.network.services import DOT
from environments.network.stranger import Stranger

AUTHORITY = "stranger.pem"
_PATIENCE_S = 5.0
_LIMIT = 65536
_KEPT = 2048  # characters of what was said
_BODY = b'{"status": "ok"}'
_HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY
Row = dict[str, Any]


class Answering:
    def __init__(self, log: Path) -> None:
        self._log, self._stranger, self._names = log, Stranger(), dns.Inventions()
        (log.parent / AUTHORITY).write_bytes(self._stranger.authority.public_bytes(Encoding.PEM))

    def accept(self, listener: socket.socket) -> None:
        while True:
            with contextlib.suppress(ConnectionError):
                connection, _ = listener.accept()
                threading.Thread(target=self.converse, args=(connection,), daemon=True).start()

    def converse(self, connection: socket.socket) -> None:
        """Hear a caller out; HTTP gets 200, DNS over TLS an address, anything else nothing."""
        address, port = connection.getsockname()[:2]
        client, source_port = connection.getpeername()[:2]
        destination = _plain(address)
        row: Row = {
            "t_s": time.time(),
            "client": _plain(client),
            "source_port": source_port,
            "destination": destination,
            "port": port,
            "tls": False,
            "trusted": False,
            "said": "",
        }
        connection.settimeout(_PATIENCE_S)
        try:
            if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                row["tls"] = True
                connection = self._stranger.greet(destination, row).wrap_socket(connection, server_side=True)
                row["trusted"] = True
            (self._dot if row["tls"] and port == DOT else self._http)(connection, row)
        except OSError as error:  # ssl.SSLError too: the caller does not trust the stranger, as it should
            row["error"] = str(error)
        finally:
            connection.close()
        with self._log.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")

    def _http(self, connection: socket.socket, row: Row) -> None:
        said = b""
        while b"\r\n\r\n" not in said and len(said) < _LIMIT:
            data = connection.recv(_LIMIT)
            if not data:
                break
            said += data
            row["said"] = said[:_KEPT].decode("latin-1")
        heard = words.read(said, row["port"]) or words.Words()
        row["name"] = row.get("name") or heard.name
        if heard.service == "doh":  # seen by its path, which TLS hides from all but the one it is said to
            row["service"] = "doh"
        if b" HTTP/1." in said.partition(b"\r\n")[0]:
            connection.sendall(_HTTP)

    def _dot(self, connection: socket.socket, row: Row) -> None:
        said, asked = b"", []

        def resolve(question: dns.Question) -> bytes:
            asked.append(question.name)
            return dns.answer(question, self._names.address(question))

        while data := connection.recv(_LIMIT):
            reply, used = answers.dns_stream(said + data, resolve)
            said = (said + data)[used:][:_LIMIT]
            row["said"] = f"DNS questions: {' '.join(asked)}"[:_KEPT]
            connection.sendall(reply)


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def main() -> None:
    answering = Answering(Path(sys.argv[1]))
    with socket.socket(fileno=0) as router:
        while message := router.recv(4096):
            port = int(json.loads(message)["listen"])
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
            threading.Thread(target=answering.accept, args=(listener,), daemon=True).start()
            router.send(json.dumps({"listening": port}).encode())


if __name__ == "__main__":
    main()

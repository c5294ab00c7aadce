"""The server that accepts everything, in the sentinel's namespace: TCP on any address and port, TLS by a stranger's CA.

Descriptor 0 is a socket to the router, which names a port before it passes the first packet to it. What callers say is
written to the file given as argument, a JSON line each: what would have been told to the internet.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

_PATIENCE_S = 5.0
_LIMIT = 65536
_BODY = b'{"status": "ok"}'
_HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY


@cache
def stranger() -> ssl.SSLContext:
    """A TLS server whose certificate no client has reason to trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody you know")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as chain:
        chain.write(private + certificate.public_bytes(pem))
        chain.flush()
        context.load_cert_chain(chain.name)
    return context


def converse(connection: socket.socket, log: Path) -> None:
    """Hear a caller out, answer HTTP with 200 and anything else with nothing."""
    address, port = connection.getsockname()[:2]
    row = {"t_s": time.time(), "destination": str(address).removeprefix("::ffff:"), "port": port, "tls": False}
    said = b""
    connection.settimeout(_PATIENCE_S)
    try:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            row["tls"] = True
            connection = stranger().wrap_socket(connection, server_side=True)
        while b"\r\n\r\n" not in said and len(said) < _LIMIT:
            data = connection.recv(_LIMIT)
            if not data:
                break
            said += data
        if b" HTTP/1." in said.partition(b"\r\n")[0]:
            connection.sendall(_HTTP)
    except OSError as error:  # ssl.SSLError too: the caller does not trust the stranger, as it should
        row["error"] = str(error)
    finally:
        connection.close()
    row["said"] = said[:2048].decode("latin-1")
    with log.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def accept(listener: socket.socket, log: Path) -> None:
    while True:
        with contextlib.suppress(ConnectionError):
            connection, _ = listener.accept()
            threading.Thread(target=converse, args=(connection, log), daemon=True).start()


def main() -> None:
    log = Path(sys.argv[1])
    with socket.socket(fileno=0) as router:
        while message := router.recv(4096):
            port = int(json.loads(message)["listen"])
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
            threading.Thread(target=accept, args=(listener, log), daemon=True).start()
            router.send(json.dumps({"listening": port}).encode())


if __name__ == "__main__":
    main()

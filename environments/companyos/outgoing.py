"""HTTP to the two places a node may speak to: its control plane and its parent. Nothing else in a node goes out.

Built for links that are slow, lossy or half dead: every exchange has a deadline that grows with what it carries, and
the kernel is told to give a connection up when the other side stays silent.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECT_S = 10.0
SLOWEST_BYTES_S = 500  # half of the slowest supported link, 8 kbit/s
SILENCE_S = 10  # no byte acknowledged for so long: the connection is dead
MAX_ANSWER_BYTES = 8 * 1024 * 1024


class LinkError(Exception):
    """No usable answer. The message is a short word for a status page: refused, timeout, reset, unreachable,
    too-large."""


class Stale(LinkError):
    """The connection was reset: by a fault, or because it had been idle for too long."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Channel:
    """One connection to one base URL, opened at the first request and closed at the first fault. Not thread-safe."""

    def __init__(self, base: str, *, deadline_s: float | None = None) -> None:
        """deadline_s: of connecting and of each exchange; None: as long as a slow link needs."""
        self.deadline_s = deadline_s
        parts = urlsplit(base)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.prefix = parts.path.rstrip("/")
        self.connection: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        answer_bytes: int = 4096,
    ) -> Answer:
        """Send and read the whole answer; LinkError otherwise. `answer_bytes`: how much is expected, for the
        deadline."""
        used_before = self.connection is not None
        try:
            return self.exchange(method, path, body, headers, answer_bytes)
        except Stale:
            if not used_before:
                raise
            return self.exchange(method, path, body, headers, answer_bytes)

    def exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, answer_bytes: int
    ) -> Answer:
        """One try on the open connection or a new one."""
        limit_s = allowance_s(len(body or b"") + answer_bytes) if self.deadline_s is None else self.deadline_s
        deadline = time.monotonic() + limit_s
        try:
            connection = self.connection or connect(self.host, self.port, self.deadline_s or CONNECT_S)
            self.connection = connection
            assert connection.sock is not None
            connection.sock.settimeout(max(1.0, deadline - time.monotonic()))
            connection.request(method, self.prefix + path, body, dict(headers or {}))
            response = connection.getresponse()
            raw = read(response, connection.sock, deadline)
        except (ConnectionResetError, BrokenPipeError) as error:  # http.client's RemoteDisconnected is one too
            self.close()
            raise Stale(word(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise LinkError(word(error)) from error
        except LinkError:
            self.close()
            raise
        if response.will_close:
            self.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, raw)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def allowance_s(size: int) -> float:
    """The longest an exchange of so many bytes may take, without its connect."""
    return SILENCE_S + 5.0 + size / SLOWEST_BYTES_S


def connect(host: str, port: int, connect_s: float = CONNECT_S) -> http.client.HTTPConnection:
    """A connection that notices a dead link: unacknowledged data, or an idle wait for the answer, both within
    SILENCE_S."""
    connection = http.client.HTTPConnection(host, port, timeout=connect_s)
    connection.connect()
    sock = connection.sock
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    return connection


def read(response: http.client.HTTPResponse, sock: socket.socket | None, deadline: float) -> bytes:
    raw = bytearray()
    while chunk := response.read1(65536):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise LinkError("too-large")
        left = deadline - time.monotonic()
        if left <= 0:
            raise LinkError("timeout")
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(left)
    response.close()  # read1 leaves it open at its end, and the connection would take no other request
    return bytes(raw)


def word(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionError | http.client.HTTPException):
        return "reset"
    return "unreachable"

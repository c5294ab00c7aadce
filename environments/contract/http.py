"""HTTP from inside a site: urllib3 over sockets that a driver makes, with a deadline and a size limit."""

from __future__ import annotations

import json as jsonlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError, ReadTimeoutError

from environments.contract.exchanges import EXCHANGES
from environments.contract.messages import Request, Response, TransportError
from environments.contract.relay import relayed

SocketFactory = Callable[[int, int], socket.socket]  # (family, type) -> socket that belongs to the site
LIMIT_BYTES = 32 * 1024 * 1024
STREAM_BYTES = 4 * 1024 * 1024
STREAM_S = 3600.0  # longer than any check
USER_AGENT = "companyos-conform"


def plain_socket(family: int, kind: int) -> socket.socket:
    return socket.socket(family, kind)


class DeadlineSocket(socket.socket):
    """Each operation ends at the deadline of the request that makes it. A timeout alone would start anew with every
    byte: a peer that sends one a second would hold a check for as long as it likes."""

    now: _Now

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.now.left_s())
        return super().recv_into(*args, **kwargs)

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        self.settimeout(self.now.left_s())
        return super().recv(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.now.left_s())
        super().sendall(*args, **kwargs)


class _Now(threading.local):
    """The deadline of the request that this thread makes."""

    deadline = 0.0  # of time.monotonic

    def left_s(self) -> float:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer did not end before the deadline")
        return left_s


class SocketSession:
    """The contract's HttpSession. Thread-safe; connections are kept alive per host. Each exchange is noted as evidence.

    make: gives a socket of the site that requests come from.
    limit_bytes: larger bodies raise TransportError("too-large").
    most_s: no request takes longer, whatever its caller allows."""

    def __init__(
        self,
        make: SocketFactory = plain_socket,
        *,
        limit_bytes: int = LIMIT_BYTES,
        keep: int = 16,
        most_s: float | None = None,
    ) -> None:
        now = self._now = _Now()

        class SiteConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                made = _connect(make, self, self._dns_host, self.port or 80, self.timeout)
                kept = DeadlineSocket(made.family, made.type, made.proto, made.detach())
                kept.now = now
                return kept

        class SitePool(HTTPConnectionPool):
            ConnectionCls = SiteConnection

        self._pools = urllib3.PoolManager(num_pools=16, maxsize=keep, retries=False)
        self._pools.pool_classes_by_scheme = {"http": SitePool}
        self._make, self._limit_bytes, self._most_s = make, limit_bytes, most_s

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = None,
        timeout_s: float = 10.0,
    ) -> Response:
        sent = {"User-Agent": USER_AGENT, **(headers or {})}
        if json is not None:
            body = jsonlib.dumps(json).encode()
            sent.setdefault("Content-Type", "application/json")
        request = Request(method, url, sent, body)
        try:
            answer = self._send(request, timeout_s if self._most_s is None else min(timeout_s, self._most_s))
        except TransportError as error:
            EXCHANGES.note(request, error)
            raise
        EXCHANGES.note(request, answer)
        return answer

    def _send(self, request: Request, timeout_s: float) -> Response:
        started = time.monotonic()
        self._now.deadline = started + timeout_s
        try:
            answer = self._pools.request(
                request.method,
                request.url,
                body=request.body,
                headers=request.headers,
                timeout=urllib3.Timeout(total=timeout_s),
                redirect=False,
                preload_content=False,
            )
            try:
                content = self._read(cast(urllib3.HTTPResponse, answer))
            except BaseException:
                answer.close()
                raise
            answer.release_conn()
        except HTTPError as error:
            raise TransportError(_kind(error), f"{request.method} {request.url}: {error}") from None
        except OSError as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "other"
            raise TransportError(kind, f"{request.method} {request.url}: {error}") from None
        return Response(answer.status, dict(answer.headers), content, time.monotonic() - started, request)

    def relay(self, url: str) -> AbstractContextManager[str]:
        return relayed(self._make, url)

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0
    ) -> Iterator[LiveStream]:
        sent = {"User-Agent": USER_AGENT, "Accept": "text/event-stream", **(headers or {})}
        request = Request("GET", url, sent, None)
        self._now.deadline = time.monotonic() + timeout_s
        timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
        try:
            answer = self._pools.request(
                "GET", url, headers=sent, timeout=timeout, redirect=False, preload_content=False
            )
        except (HTTPError, OSError) as error:
            failed = TransportError(_kind(error), f"GET {url}: {error}")
            EXCHANGES.note(request, failed)
            raise failed from None
        EXCHANGES.note(request, Response(answer.status, dict(answer.headers), b"(a stream)", 0.0, request))
        live = LiveStream(cast(urllib3.HTTPResponse, answer), self._now)
        try:
            yield live
        finally:
            live.close()

    def _read(self, answer: urllib3.HTTPResponse) -> bytes:
        content = bytearray()
        while chunk := answer.read(65536, decode_content=True):
            content += chunk
            if len(content) > self._limit_bytes:
                raise TransportError("too-large", f"the body exceeds {self._limit_bytes} bytes")
            self._now.left_s()
        return bytes(content)


class LiveStream:
    """The contract's Stream: a thread of its own reads. A pause of the other side is no end."""

    def __init__(self, answer: urllib3.HTTPResponse, now: _Now) -> None:
        self.status, self._now = answer.status, now
        self._answer, self._body, self._ended, self._closing = answer, bytearray(), False, False
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    @property
    def ended(self) -> bool:
        return self._ended

    def _run(self) -> None:
        self._now.deadline = time.monotonic() + STREAM_S
        while not self._closing and len(self._body) < STREAM_BYTES:
            try:
                part = self._answer.read1(65536)
            except (HTTPError, OSError, ValueError, AttributeError):
                break
            if not part:
                break
            self._body += part
        self._ended = True

    def close(self) -> None:
        self._closing = True
        with suppress(ValueError, RuntimeError, OSError):
            self._answer.shutdown()
        self._answer.close()
        self._thread.join(2.0)


def _connect(make: SocketFactory, connection: HTTPConnection, host: str, port: int, timeout: Any) -> socket.socket:
    """A connected socket; addresses only: a site's names are the product's business, not the suite's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = make(family, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout if isinstance(timeout, int | float) else 10.0)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect((host, port))
    except TimeoutError as error:
        made.close()
        raise ConnectTimeoutError(connection, f"connecting to {host}:{port} timed out") from error
    except OSError as error:
        made.close()
        raise NewConnectionError(connection, f"{host}:{port}: {error}") from error
    return made


def _kind(error: BaseException) -> str:
    if isinstance(error, NewConnectionError):
        return "refused" if "refused" in str(error).lower() else "other"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "timeout"
    if any(isinstance(cause, TimeoutError) for cause in (*error.args, error.__cause__)):
        return "timeout"
    if isinstance(error, NameResolutionError):
        return "dns"
    text = str(error).lower()
    return "reset" if "reset" in text or "aborted" in text or "broken" in text else "other"

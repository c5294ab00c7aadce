"""A deployment that misbehaves on purpose, for tests of the suite: every check must end with a verdict that says so.

    python -m environments.doubles.hostile BEHAVIOUR PORT [STAGE [SEED]]

Listens on 127.0.0.1. BEHAVIOURS are below, each with what it does. STAGES say from when on:
from-login: from the first byte; after-login: discovery, health and login are genuine, so that checks get further;
intermittent: beside these, half of the GraphQL answers, by the seed, are of the right form (and no true word in them).
Redirects lead to itself and to a second listener, a trap that counts who came.
"""

from __future__ import annotations

import base64
import functools
import json
import random
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from environments.doubles.plausible import answer_of

STAGES = ("from-login", "after-login", "intermittent")
DELAY_S, DRIP_S = 30.0, 1.0
MAX_BYTES = 8 << 20
RESET = object()  # in place of bytes: the connection is reset
Step = bytes | float | object  # bytes to send, seconds to wait, RESET


@dataclass
class Turn:
    """One request, and what its behaviour may use."""

    method: str
    path: str
    raw: bytes  # request line and headers
    body: bytes
    rng: random.Random
    here: str  # base URL of the double
    trap: str  # base URL of the trap

    def document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


Behaviour = Callable[[Turn], Iterator[Step]]


def message(status: int, body: bytes, kind: str = "application/json", *more: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    if length is not None:
        lines[2] = f"Content-Length: {length}"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def html(turn: Turn) -> Iterator[Step]:
    """Pages for people: a login form, a proxy's error; with 200 as often as not."""
    page = "<!doctype html><title>%s</title><form action=/login><input name=password></form>"
    status, title = turn.rng.choice([(200, "Sign in"), (200, "Error"), (502, "Bad gateway"), (403, "Blocked")])
    yield message(status, (page % title).encode(), "text/html; charset=utf-8")


def truncated_json(turn: Turn) -> Iterator[Step]:
    """JSON that ends early, with a length that fits."""
    whole = json.dumps({"data": {"createEntity": {"id": "e-1", "tenantId": "acme", "props": {}}, "accessToken": "eyJ"}})
    yield message(200, whole[: turn.rng.randrange(len(whole))].encode())


WRONG: tuple[bytes, ...] = (
    b'{"data": []}',
    b'{"data": null}',
    b'{"data": 7}',
    b'{"data": {}, "errors": []}',
    b'{"data": "yes", "accessToken": {"a": 1}}',
    b'{"errors": "no"}',
    b'{"errors": {"extensions": {"code": "NOT_FOUND"}}}',
    b'{"errors": ["no"]}',
    b'{"errors": [{"message": 4, "extensions": null}]}',
    b'{"errors": [{"message": "no", "extensions": ["NOT_FOUND"]}]}',
    b'{"errors": [{"message": "no", "extensions": {"code": {"a": 1}}}]}',
    b'{"error": {"code": 401}}',
    b'{"error": "UNAUTHENTICATED"}',
    b"[]",
    b"null",
    b"true",
    b'"NOT_FOUND"',
    b"[" * 100_000 + b"]" * 100_000,
    b'{"data": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    b'{"data": {"createEntity": ' + b"9" * 10_000 + b"}}",
    b'{"data": null, "data": {"me": {"tenantId": "acme", "tenantId": "globex"}}}',
    b'{"data": {"me": NaN, "entities": Infinity}}',
    b'{"data": {"me": "\xff\xfe"}}',
    b'\xef\xbb\xbf{"data": {}}',
    "{}".encode("utf-16"),
    b"",
)


def wrong_types(turn: Turn) -> Iterator[Step]:
    """Valid JSON of other types, and what is only nearly JSON; to a query, its own fields with wrong values."""
    query = turn.document().get("query")
    if isinstance(query, str) and turn.rng.random() < 0.5:
        value: Any = turn.rng.choice([7, "x", [], [[]], [None], {}, True, -(10**30), 1e308, None])
        yield message(200, answer_of(query, turn.rng, wrong=lambda: value))
    else:
        yield message(turn.rng.choice([200, 200, 401, 404, 422]), turn.rng.choice(WRONG))


def slow(turn: Turn) -> Iterator[Step]:
    """Nothing for 30 s, then a fine answer."""
    yield DELAY_S
    yield message(200, b'{"data": {}}')


def dripping(turn: Turn) -> Iterator[Step]:
    """One byte a second, for ever: of the headers, or of the body."""
    if turn.rng.random() < 0.5:
        yield b"HTTP/1.1 200 OK\r\nX-Long: "
    else:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    while True:
        yield b" "
        yield DRIP_S


def endless(turn: Turn) -> Iterator[Step]:
    """A body, or headers, or interim answers, without an end."""
    kind = turn.rng.randrange(4)
    if kind == 0:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
        yield b'{"data": "'
        while True:
            yield b"a" * 65536
    if kind == 1:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b"[" * 65536 + b"\r\n"
    if kind == 2:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: " + b"y" * 1000 + b"\r\n"
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


def redirect(turn: Turn) -> Iterator[Step]:
    """Elsewhere: to itself, to another host, to a place that is none."""
    status = turn.rng.choice([301, 302, 303, 307, 308])
    where = turn.rng.choice([turn.here + turn.path, turn.trap + turn.path, turn.path, "file:///etc/passwd", "//", ""])
    yield message(status, b"", "text/html", f"Location: {where}")


def closing(turn: Turn) -> Iterator[Step]:
    """The connection ends: before the status, in the headers, in the body, politely or not; lengths that do not fit."""
    whole = message(200, b'{"data": {"me": {"sub": "admin", "tenantId": "acme", "roles": []}}}', length=4000)
    kind = turn.rng.randrange(6)
    if kind == 1:
        yield whole[: turn.rng.randrange(1, 40)]
    elif kind == 2:
        yield whole[: turn.rng.randrange(60, len(whole))]
    elif kind == 3:
        yield message(200, b'{"data": {}}', length=3)
    elif kind == 4:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\nContent-Length: 12\r\n\r\n{}"
    elif kind == 5:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    if turn.rng.random() < 0.5:
        yield RESET


def status_soup(turn: Turn) -> Iterator[Step]:
    """Any status with any body, those that no server has among them."""
    status = turn.rng.choice([103, 199, 200, 204, 206, 226, 299, 304, 400, 401, 403, 404, 418, 429, 451, 500, 503, 599])
    line = turn.rng.choice(
        [b"", b"HTTP/1.1 999 What\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"\0\0\0"]
    )
    bodies = [
        b"Internal Server Error",
        b'{"status": "error"}',
        b'{"error": {"code": "NOT_FOUND", "message": "no"}}',
        b"",
    ]
    yield line or message(status, turn.rng.choice(bodies))


def echo(turn: Turn) -> Iterator[Step]:
    """The request comes back: as text, as `data`, as an error's message."""
    said = turn.raw + turn.body
    text = said.decode("utf-8", "replace")
    answers: list[Any] = [
        {"data": {"echo": text, **turn.document()}},
        {"errors": [{"message": text, "extensions": {"code": text[:200]}}]},
        {"data": turn.document(), "headers": text},
    ]
    chosen = turn.rng.randrange(4)
    yield message(200, said, "text/plain") if chosen == 3 else message(200, json.dumps(answers[chosen]).encode())


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(64)) + packer.flush()


def zipped(turn: Turn) -> Iterator[Step]:
    """A small answer that unpacks to 64 MiB, more than a client should take; and one that does not unpack."""
    yield message(200, turn.rng.choice([_bomb(), b"\x1f\x8bnot gzip"]), "application/json", "Content-Encoding: gzip")


def plausible(turn: Turn) -> Iterator[Step]:
    """Of the right form throughout, by the schema, and made up: what only looks at the form would believe it."""
    query = turn.document().get("query")
    if isinstance(query, str):
        yield message(200, answer_of(query, turn.rng))
    else:
        yield message(200, json.dumps({"events": [], "next": 0, "users": [], "state": "valid", "revision": 1}).encode())


def mixed(turn: Turn) -> Iterator[Step]:
    """One of the others, for each request anew."""
    others = [each for name, each in BEHAVIOURS.items() if name not in ("mixed", "slow", "dripping")]
    yield from turn.rng.choice(others)(turn)


BEHAVIOURS: dict[str, Behaviour] = {
    "html": html,
    "truncated-json": truncated_json,
    "wrong-types": wrong_types,
    "slow": slow,
    "dripping": dripping,
    "endless": endless,
    "redirect": redirect,
    "closing": closing,
    "status-soup": status_soup,
    "echo": echo,
    "zipped": zipped,
    "plausible": plausible,
    "mixed": mixed,
}


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def genuine(turn: Turn) -> bytes | None:
    """Discovery, health and login as a node would answer them; None for all else."""
    path = turn.path.partition("?")[0]
    if path in ("/healthz", "/readyz"):
        return message(200, b'{"status": "alive", "ready": true, "checks": {"database": {"ok": true, "detail": ""}}}')
    if path == "/.well-known/companyos":
        claims = {"product": "companyos", "node_id": "n-1", "mode": "A", "variant": "saas", "version": "1.4.0"}
        components = {name: {"present": True, "kind": name} for name in ("postgres", "graph", "policy", "maestro")}
        rest = {"components": components, "capabilities": ["graphql"], "limits": {"page_size": 100}, "ports": []}
        return message(200, json.dumps({**claims, "schema_version": 1, **rest}).encode())
    if path == "/v1/auth/login" and turn.method == "POST":
        asked = turn.document()
        said = {"sub": asked.get("username"), "tenant": asked.get("tenant"), "roles": [asked.get("username")]}
        parts_of_token = [_unpadded(json.dumps(part).encode()) for part in ({"alg": "EdDSA"}, said)]
        token = ".".join([*parts_of_token, _unpadded(turn.rng.randbytes(64))])
        return message(200, json.dumps({"accessToken": token, "tokenType": "Bearer", "expiresIn": 900}).encode())
    return None


class HostileServer:
    """In this process: `with HostileServer("html", "after-login", seed=7) as server: server.url`. Thread-safe."""

    def __init__(self, behaviour: str, stage: str = "from-login", seed: int = 0, port: int = 0) -> None:
        if behaviour not in BEHAVIOURS or stage not in STAGES:
            raise ValueError(f"behaviours are {', '.join(BEHAVIOURS)}; stages are {', '.join(STAGES)}")
        self.behaviour, self.stage = BEHAVIOURS[behaviour], stage
        self.requests = self.trapped = 0
        self._rng, self._lock, self._stop = random.Random(seed), threading.Lock(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._trap = socket.create_server(("127.0.0.1", 0))
        self.url, self.trap_url = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in (self._listener, self._trap))

    def __enter__(self) -> HostileServer:
        for target in (self._accept, self._count_trapped):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for listener in (self._listener, self._trap):
            listener.close()

    def serve(self) -> None:
        """Until it is stopped."""
        with self:
            self._stop.wait()

    def _count_trapped(self) -> None:
        while not self._stop.is_set():
            try:
                self._trap.accept()[0].close()
            except OSError:
                return
            self.trapped += 1

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        """Requests of one connection, until either side ends it."""
        connection.settimeout(60)
        with connection, connection.makefile("rb") as stream:
            try:
                while (turn := self._read(stream)) is not None and self._answer(connection, turn):
                    pass
            except OSError:
                return

    def _read(self, stream: Any) -> Turn | None:
        raw = b""
        while not raw.endswith(b"\r\n\r\n"):
            line = stream.readline(65536)
            if not line:
                return None
            raw += line
        method, path = raw.split(b"\r\n")[0].decode("latin-1").split(" ")[:2]
        lengths = [line.split(b":")[1] for line in raw.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = stream.read(min(int(lengths[0]), MAX_BYTES)) if lengths else b""
        with self._lock:
            self.requests += 1
            rng = random.Random(self._rng.random())
        return Turn(method, path, raw, body, rng, self.url, self.trap_url)

    def _answer(self, connection: socket.socket, turn: Turn) -> bool:
        """Whether the connection goes on."""
        if self.stage != "from-login":
            fine = genuine(turn)
            if fine is None and self.stage == "intermittent" and turn.rng.random() < 0.5:
                fine = next(iter(plausible(turn)))  # type: ignore[assignment]
            if fine is not None:
                connection.sendall(fine)
                return True
        for step in self.behaviour(turn):
            if step is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float) and self._stop.wait(step):
                return False
        return self.behaviour not in (closing, endless, status_soup)


def main() -> None:
    behaviour, port, *more = sys.argv[1:]
    stage, seed = (more + ["from-login", "0"][len(more) :])[:2]
    HostileServer(behaviour, stage, int(seed), int(port)).serve()


if __name__ == "__main__":
    main()

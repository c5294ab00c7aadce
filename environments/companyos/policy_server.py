"""Policy decisions by an OPA beside the API. Where there is nothing to ask there is no decision; nothing is allowed.

OPA fetches the bundle from the node over loopback, and verifies the vendor's signature itself. Reading it from a file
that it watches would be simpler, but OPA verifies no signature of what it reads again. Every answer names the revision
that it was decided by: one by an older policy than the node has in force is no answer. A policy becomes the one in
force when OPA has been seen to decide by it; the same modules are compiled here first, so that one which is no policy
is refused as everywhere.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import socket
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from environments.companyos import opa_bundle
from environments.companyos.clock import Clock
from environments.companyos.policy import ENTRYPOINT, PROBE, PolicyAway, PolicyEngine, prepare

BOUND_S = 0.5  # the longest that a decision takes
TAKEN_S = 3.0  # within which OPA takes a policy that is offered
MAX_BYTES = 64 * 1024
SHIPPED = "shipped.sig"  # the vendor's signature of the policy that came with the release
LOOK_S = 0.05  # how often a waiting request looks for a new bundle
MAX_WAIT_S = 10.0


class Hurried(io.RawIOBase):
    """The socket of an HTTP connection; what is sent and received on it has to be done by `ends`, however slowly the
    other side lets it trickle. time.monotonic() seconds."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.ends = sock, 0.0

    def _hurry(self) -> None:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)

    def sendall(self, data: bytes) -> None:
        self._hurry()
        self.sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(Reading(self))

    def close(self) -> None:
        self.sock.close()


class Reading(io.RawIOBase):
    def __init__(self, whole: Hurried) -> None:
        self.whole = whole

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.whole._hurry()
        return self.whole.sock.recv_into(buffer)


class Opa:
    """OPA's API over a few kept connections. Thread-safe."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 8181
        self._idle: deque[http.client.HTTPConnection] = deque()

    def ask(self, document: Mapping[str, Any]) -> tuple[int, Any]:
        """(revision of the policy, result; None if it is undefined). Raises PolicyAway, and Unevaluated if the policy
        ended in an error."""
        body = json.dumps({"input": dict(document)}).encode()
        try:
            status, raw = self._exchange(body, time.monotonic() + BOUND_S)
            answer = json.loads(raw)
            if status == 500 and answer.get("code") == "internal_error":
                raise Unevaluated("the policy cannot be evaluated")
            if status != 200:
                raise PolicyAway(f"answers {status}")
            return int(answer["provenance"]["bundles"][opa_bundle.NAME]["revision"]), answer.get("result")
        except (OSError, http.client.HTTPException) as error:
            raise PolicyAway(type(error).__name__) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PolicyAway("no answer of a policy server") from error

    def _exchange(self, body: bytes, ends: float) -> tuple[int, bytes]:
        """On a kept connection if there is one; if that turns out to be closed, once more on another."""
        while True:
            try:
                connection, kept = self._idle.pop(), True
            except IndexError:
                connection, kept = http.client.HTTPConnection(self.host, self.port), False
            try:
                return self._on(connection, body, ends)
            except (ConnectionResetError, BrokenPipeError):  # http.client's RemoteDisconnected is one too
                connection.close()
                if not kept:
                    raise
            except BaseException:
                connection.close()
                raise

    def _on(self, connection: http.client.HTTPConnection, body: bytes, ends: float) -> tuple[int, bytes]:
        if connection.sock is None:
            connection.timeout = BOUND_S
            connection.connect()
            assert isinstance(connection.sock, socket.socket)
            connection.sock = Hurried(connection.sock)
        hurried: Any = connection.sock
        hurried.ends = ends
        path = f"/v1/data/{ENTRYPOINT}?provenance=true"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        raw = response.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES or response.length:
            raise http.client.HTTPException("too large, or cut off")
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, raw


class Unevaluated(Exception):
    """The policy ended in an error."""


class ServedPolicy(PolicyEngine):
    """policy.PolicyEngine whose decisions are OPA's."""

    kind = "opa"

    def __init__(self, clock: Clock, url: str, data_dir: Path) -> None:
        super().__init__(clock)
        self.opa = Opa(url)
        self.shipped_file = data_dir / "policy" / SHIPPED
        self.bundle, self.etag = b"", ""  # what OPA is given, where it asks this process for it

    def load(self, modules: Mapping[str, str], revision: int, digest: str, signature: str | None = None) -> None:
        """As everywhere; then OPA has to take it. Raises PolicyError, and PolicyAway if OPA did not take it within
        TAKEN_S: the policy in force stays. While the node starts nobody waits: OPA asks once it serves."""
        compiled = prepare(modules)
        before = self.bundle
        if signature is not None:
            self._offer(opa_bundle.pack(revision, modules, signature))
        if self.live and not self._taken(revision):
            self._offer(before)
            raise PolicyAway(f"the policy server did not take revision {revision}")
        self.swap(compiled, revision, digest)

    def shipped_signature(self) -> str | None:
        try:
            return self.shipped_file.read_text().strip()
        except OSError:
            return None

    def _offer(self, bundle: bytes) -> None:
        self.bundle, self.etag = bundle, f'"{hashlib.sha256(bundle).hexdigest()}"'

    def _taken(self, revision: int) -> bool:
        ends = time.monotonic() + TAKEN_S
        while time.monotonic() < ends:
            try:
                if self.opa.ask(PROBE)[0] >= revision:
                    return True
            except Unevaluated:
                return True  # by which revision is not told; decisions look again
            except PolicyAway:
                pass
            time.sleep(LOOK_S)  # the pace of asking; the condition is that OPA has it
        return False

    def decide(self, document: Mapping[str, Any]) -> bool:
        """Raises PolicyAway."""
        in_force = self.revision  # now: another may follow while this decision is made
        try:
            revision, result = self.opa.ask(document)
        except Unevaluated as error:
            self.last_error = f"POLICY_EVALUATION: {error}"
            return False
        if revision < in_force:
            raise PolicyAway(f"revision {revision} decides, not {in_force}")
        return result is True

    def check(self) -> tuple[bool, str]:
        try:
            self.decide(PROBE)
        except PolicyAway as error:
            return False, f"the policy server: {error}"
        return super().check()


def routes(services: Any) -> list[BaseRoute]:
    """`GET /v1/policy/opa`: the bundle for the node's own OPA. It waits for a newer one, if it is asked to."""
    policy: ServedPolicy = services.policy

    async def get(request: Request) -> Response:
        known, wait_s = request.headers.get("if-none-match", ""), _wait_s(request.headers.get("prefer", ""))
        await run_in_threadpool(_newer, services, known, wait_s)
        headers = {"ETag": policy.etag, "Content-Type": opa_bundle.MEDIA_TYPE}
        if policy.etag == known:
            return Response(status_code=304, headers=headers)
        return Response(policy.bundle, 200 if policy.bundle else 404, headers=headers)

    return [Route("/v1/policy/opa", get)]


def _wait_s(prefer: str) -> float:
    """Of `Prefer: modes=snapshot,delta;wait=10`, in seconds."""
    for part in prefer.replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "wait" and value.isascii() and value.isdigit():
            return min(float(value[:6]), MAX_WAIT_S)
    return 0.0


def _newer(services: Any, known: str, wait_s: float) -> None:
    """Until there is another bundle than the known one, or the time is over, or the service is to end."""
    ends = time.monotonic() + wait_s
    while services.policy.etag == known and time.monotonic() < ends and not services.ending():
        time.sleep(LOOK_S)

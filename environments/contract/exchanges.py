"""The last exchanges with the deployment, kept as evidence: few, short, and without secrets.

Whatever speaks HTTP for a check notes each exchange here (http.SocketSession does); the plugin forgets them before each
check and puts the last into the evidence of a verdict that is not a pass."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environments.contract.messages import Request, Response, TransportError

KEPT = 8  # exchanges
HEAD_CHARS = 600  # of a body
KEPT_BYTES = 64 * 1024  # of a body, until the check is judged
REDACTED = "<redacted>"
_TOKEN = re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]*)*")  # a JWS, whole or cut short
_BEARER = re.compile(r"(?i)\b(Bearer|Basic)\s+[\w.~+/=-]+")
_SECRET_FIELD = re.compile(  # of JSON, and of JSON within a string of JSON
    r'(\\*)"(\w*(?:password|passwd|secret|token|assertion|private_?key|credential)\w*)\1"(\s*:\s*)'
    r'(?:\1".*?(?:(?<!\\)\1"|$)|-?\d[\w.+-]*)',
    re.I | re.S,
)
_SECRET_PARAMETER = re.compile(r"(?i)\b(\w*(?:password|secret|token|code_verifier|assertion)\w*=)[^&\s\"]+")
_QUIET_HEADERS = ("authorization", "user-agent", "content-type", "content-length", "accept-encoding")


def redact(text: str) -> str:
    """The text without tokens and without the values of fields that hold passwords, tokens or keys."""
    text = _SECRET_FIELD.sub(rf'\1"\2\1"\3\1"{REDACTED}\1"', text)
    text = _SECRET_PARAMETER.sub(rf"\1{REDACTED}", text)
    return _BEARER.sub(r"\1 <token>", _TOKEN.sub("<token>", text))


def head(body: bytes | None, limit: int = HEAD_CHARS) -> str:
    """The head of a body as text. Secrets go before it is cut: the half of a token is no token that could be known."""
    if not body:
        return ""
    text = redact(body[: limit * 8].decode("utf-8", "replace"))
    return text if len(text) <= limit else f"{text[:limit]}… ({len(body)} bytes)"


def identity(headers: Mapping[str, str]) -> str:
    """Who asks, as the token says: tenant, subject and roles; unverified, for people to read."""
    value = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    if not value:
        return "nobody (no token)"
    try:
        part = value.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        roles = ", ".join(str(role) for role in claims["roles"])
        return f"{claims['sub']} of tenant {claims['tenant']} (roles: {roles})"[:200]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "a token that says neither subject nor tenant"


def asked(request: Request, limit: int = HEAD_CHARS) -> str:
    """The request in one line: a GraphQL document as it is written, anything else as the head of its body."""
    line = f"{request.method} {redact(request.url)} as {identity(request.headers)}"
    extra = {name: value for name, value in request.headers.items() if name.lower() not in _QUIET_HEADERS}
    if extra:
        line += f", headers {redact(json.dumps(extra))[:200]}"
    said = head(request.body, limit)
    document = graphql_document(request)
    if document is not None:
        query, variables = document
        said = redact(" ".join(query.split()))[:limit]
        if variables:
            said += f" with {redact(json.dumps(variables, default=str))[:200]}"
    return f"{line}: {said}" if said else line


def graphql_document(request: Request) -> tuple[str, Any] | None:
    """(query, variables) of a request that carries a GraphQL document."""
    if not request.body or request.body[:1] != b"{" or '"query"' not in request.body[:KEPT_BYTES].decode("latin-1"):
        return None
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        return None
    query = document.get("query")
    return (query, document.get("variables")) if isinstance(query, str) else None


@dataclass(frozen=True)
class Exchange:
    """A request and what came back: an answer, or why there was none. Bodies are cut to KEPT_BYTES."""

    number: int
    request: Request
    answer: Response | TransportError

    def told(self) -> dict[str, Any]:
        """As evidence."""
        told: dict[str, Any] = {"number": self.number, "request": asked(self.request)}
        if isinstance(self.answer, TransportError):
            return {**told, "no answer": f"{self.answer.kind}: {redact(str(self.answer))[:HEAD_CHARS]}"}
        return {
            **told,
            "status": self.answer.status,
            "content_type": redact(str(self.answer.headers.get("content-type", "")))[:100],
            "answer": head(self.answer.body),
            "elapsed_s": round(self.answer.elapsed_s, 4),
        }


class Exchanges:
    """The last few. Thread-safe."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._last: deque[Exchange] = deque(maxlen=kept)
        self._count = 0

    def forget(self) -> None:
        with self._lock:
            self._last.clear()
            self._count = 0

    def note(self, request: Request, answer: Response | TransportError) -> None:
        with self._lock:
            self._count += 1
            self._last.append(Exchange(self._count, _cut(request), _cut(answer)))

    def last(self) -> list[Exchange]:
        with self._lock:
            return list(self._last)

    def evidence(self) -> dict[str, Any]:
        """For a verdict; empty if nothing was said."""
        last = self.last()
        if not last:
            return {}
        return {"exchanges": self._count, "the last of them": [exchange.told() for exchange in last]}


def _cut(message: Any) -> Any:
    from dataclasses import replace

    body = getattr(message, "body", None)
    if body is None or len(body) <= KEPT_BYTES:
        return message
    return replace(message, body=bytes(body[:KEPT_BYTES]), whole=False)


EXCHANGES = Exchanges()  # of this process: one check runs at a time

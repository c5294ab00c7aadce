"""Spans of requests that a caller traces (W3C Trace Context): what was asked, how it ended, how long it took.

A span names the route and not what was in its path, and holds nothing else of the request but the trace's own ids,
which are hexadecimal and nothing more. `tracestate` and `baggage` are for others to read.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from environments.companyos.services import Services

PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
MAX_BYTES = 4 << 20  # of a file of spans; one older is kept


class Spans:
    """A file of spans, one JSON object per line. A disk that takes no more costs spans and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def add(self, span: dict[str, Any]) -> None:
        with self._lock, contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.open("a") as file:
                file.write(json.dumps(span) + "\n")
                full = file.tell() > MAX_BYTES
            if full:
                self.path.replace(self.path.with_suffix(".1.jsonl"))


def sampled(scope: Scope) -> tuple[str, str] | None:
    """(trace id, parent's span id), if the caller wants the request in its trace."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    parent = PARENT.fullmatch(found[0].decode("latin-1")) if len(found) == 1 else None
    if parent is None or not int(parent[3], 16) & 1:
        return None
    return parent[1], parent[2]


def template(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """The route as it was declared, never as it was asked for."""
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            return str(getattr(route, "path", ""))
    return "none"


def attributes(scope: Scope) -> dict[str, Any]:
    """What a span tells of the request beside its route."""
    return {"method": scope["method"] if scope["method"] in METHODS else "other"}


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Traced:
    def __init__(self, app: ASGIApp, services: Services, routes: Sequence[BaseRoute]) -> None:
        self.app, self.routes = app, routes
        self.spans = Spans(services.config.data_dir / "traces" / f"{services.role}.jsonl")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        traced = sampled(scope) if scope["type"] == "http" else None
        if traced is None:
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            span = {
                "t": round(time.time(), 3),
                "trace": traced[0],
                "parent": traced[1],
                "route": template(self.routes, scope),
                "status": status,
                "duration_s": round(time.monotonic() - started, 6),
                **attributes(scope),
            }
            self.spans.add(span)

"""The tenant's events: a page at a time, or as a stream (server-sent events) that asks anew before each of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from environments.companyos import limits
from environments.companyos.errors import ApiError
from environments.companyos.services import Principal, Services
from environments.companyos.web import number

LOOK_S = 0.15  # between looks for new events
BEAT_S = 5.0  # a comment at least so often, so that a dead connection is noticed


def may_read(services: Services, request: Request) -> Principal:
    principal = services.authenticate(request)
    services.authorize(principal, "event.read", "event")
    return principal


def message(event: dict[str, Any]) -> str:
    return f"id: {event['seq']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"


class Streams:
    """How many each tenant has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, tenant: str) -> None:
        with self._lock:
            if self._open[tenant] >= limits.MAX_STREAMS:
                raise ApiError("RATE_LIMITED", message="the tenant has too many streams open")
            self._open[tenant] += 1

    def leave(self, tenant: str) -> None:
        with self._lock:
            self._open[tenant] -= 1


def still(services: Services, request: Request, tenant: str) -> str | None:
    """Why the next event is not to be sent: the code of a refusal; None if it may be."""
    try:
        principal = services.identity.verify(request.headers.get("authorization", "").partition(" ")[2].strip())
        services.authorize(principal, "event.read", "event")
    except ApiError as error:
        return error.code
    return None if principal.tenant == tenant else "FORBIDDEN"


async def follow(services: Services, request: Request, tenant: str, after: int) -> AsyncIterator[str]:
    """Events after `after`, for as long as the token and the policy allow; then one `end` that says why."""
    quiet_s = 0.0
    while not services.ending() and not await request.is_disconnected():
        refused = await run_in_threadpool(still, services, request, tenant)
        found = [] if refused else (await run_in_threadpool(services.events.after, tenant, after))["events"]
        for event in found:
            refused = refused or await run_in_threadpool(still, services, request, tenant)
            if refused:
                break
            yield message(event)
            after, quiet_s = event["seq"], 0.0
        if refused:
            yield f"event: end\ndata: {json.dumps({'code': refused})}\n\n"
            return
        if quiet_s >= BEAT_S:
            yield ": still here\n\n"
            quiet_s = 0.0
        if not found:
            await asyncio.sleep(LOOK_S)
            quiet_s += LOOK_S


def first(request: Request) -> int:
    """Where a client goes on: what it says it has seen last, or `after`."""
    seen = request.headers.get("last-event-id", "")
    return int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else number(request, "after")


def routes(services: Services) -> list[Route]:
    streams: Streams = services.extra.setdefault("streams", Streams())

    def events(request: Request) -> Response:
        principal = may_read(services, request)
        return JSONResponse(services.events.after(principal.tenant, number(request, "after")))

    def stream(request: Request) -> Response:
        principal = may_read(services, request)
        after = first(request)
        streams.enter(principal.tenant)

        async def body() -> AsyncIterator[str]:
            try:
                yield ": open\n\n"
                async for part in follow(services, request, principal.tenant, after):
                    yield part
            finally:
                streams.leave(principal.tenant)

        return StreamingResponse(body(), media_type="text/event-stream")

    return [Route("/v1/events", events), Route("/v1/events/stream", stream)]

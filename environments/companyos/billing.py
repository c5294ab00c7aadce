"""Billing: modes A and B only, mounted nowhere else."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import jws
from environments.companyos.errors import ApiError
from environments.companyos.services import SYSTEM_TENANT, Principal, Services
from environments.companyos.storage import billing as ledger

TOLERANCE_S = 300  # the provider's own libraries allow as much
MAX_EVENT_BYTES = 1 << 20


def usage(services: Services, principal: Principal) -> dict[str, Any]:
    """Metered per tenant: counts, never content."""
    with services.store.transaction(principal.tenant) as tx:
        seats = len(tx.list_users())
        return {"tenant": principal.tenant, "seats": seats, "objects": tx.counts(), "metered": ledger.metered(tx)}


def signed(secret: str, header: str, body: bytes, now_s: float) -> bool:
    """Stripe's scheme: `t=..,v1=..`, HMAC-SHA256 over `t.body`, not older than TOLERANCE_S."""
    parts = dict(item.split("=", 1) for item in header.split(",") if "=" in item)
    stamp = parts.get("t", "")
    expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    fresh = stamp.isascii() and stamp.isdigit() and len(stamp) < 12 and abs(now_s - int(stamp)) <= TOLERANCE_S
    return hmac.compare_digest(expected.encode(), parts.get("v1", "").encode()) and fresh


def event_id(body: bytes) -> str:
    """The id that the provider gave its event, the same each time that it is delivered."""
    try:
        found = jws.parse_json(body)
    except jws.JwsError as error:
        raise ApiError("INVALID", message=str(error)) from None
    identifier = found.get("id") if isinstance(found, dict) else None
    if not isinstance(identifier, str) or not identifier.isascii() or not 0 < len(identifier) <= 200:
        raise ApiError("INVALID", message="the event has no id")
    return identifier


def receive(services: Services, identifier: str) -> None:
    """An event of the provider; what is delivered again counts once."""
    with services.store.transaction(SYSTEM_TENANT) as tx:
        if ledger.first_time(tx, f"stripe-event/{identifier}"):
            tx.append_audit(services.audit.entry(SYSTEM_TENANT, "stripe", "billing.event", "event", identifier))


def routes(services: Services) -> list[Route]:
    def get_usage(request: Request) -> Response:
        principal = services.authenticate(request)
        services.authorize(principal, "billing.read", "billing")
        return JSONResponse(usage(services, principal))

    async def webhook(request: Request) -> Response:
        if services.config.stripe_key is None:
            raise ApiError("CAPABILITY_ABSENT", message="no payment provider is configured")
        body = await request.body()
        header = request.headers.get("stripe-signature", "")
        if len(body) > MAX_EVENT_BYTES or not signed(services.config.stripe_key, header, body, services.clock.now()):
            raise ApiError("INVALID", message="bad signature")
        await run_in_threadpool(receive, services, event_id(body))
        return JSONResponse({"received": True})

    return [
        Route("/v1/billing/usage", get_usage),
        Route("/v1/billing/stripe-webhook", webhook, methods=["POST"]),
    ]

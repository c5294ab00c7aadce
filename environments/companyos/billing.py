"""Billing and the global directory: modes A and B only, mounted nowhere else."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos.errors import ApiError
from environments.companyos.services import Principal, Services


def usage(services: Services, principal: Principal) -> dict[str, Any]:
    """Metered per tenant: counts, never content."""
    with services.store.transaction(principal.tenant) as tx:
        return {"tenant": principal.tenant, "seats": len(tx.list_users()), "objects": tx.counts()}


def signed(secret: str, header: str, body: bytes) -> bool:
    """Stripe's scheme: `t=..,v1=..`, HMAC-SHA256 over `t.body`."""
    parts = dict(item.split("=", 1) for item in header.split(",") if "=" in item)
    expected = hmac.new(secret.encode(), f"{parts.get('t', '')}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", ""))


def directory(services: Services, principal: Principal) -> list[dict[str, Any]]:
    with services.store.transaction(principal.tenant) as tx:
        return [{"username": u["username"], "roles": u["roles"], "disabled": u["disabled"]} for u in tx.list_users()]


def routes(services: Services) -> list[Route]:
    def get_usage(request: Request) -> Response:
        principal = services.authenticate(request)
        services.authorize(principal, "billing.read", "billing")
        return JSONResponse(usage(services, principal))

    async def webhook(request: Request) -> Response:
        if services.config.stripe_key is None:
            raise ApiError("CAPABILITY_ABSENT", message="no payment provider is configured")
        body = await request.body()
        if len(body) > 1 << 20 or not signed(
            services.config.stripe_key, request.headers.get("stripe-signature", ""), body
        ):
            raise ApiError("INVALID", message="bad signature")
        digest = hashlib.sha256(body).hexdigest()
        await run_in_threadpool(services.audit.append, "_system", "stripe", "billing.event", "event", digest)
        return JSONResponse({"received": True})

    def users(request: Request) -> Response:
        principal = services.authenticate(request)
        services.authorize(principal, "directory.read", "directory")
        return JSONResponse({"users": directory(services, principal)})

    return [
        Route("/v1/billing/usage", get_usage),
        Route("/v1/billing/stripe-webhook", webhook, methods=["POST"]),
        Route("/v1/directory/users", users),
    ]

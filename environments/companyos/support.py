"""What a tenant sends to the vendor's support: the state of the node and the tenant's own trail, without content."""

from __future__ import annotations

from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import discovery
from environments.companyos.errors import ApiError
from environments.companyos.services import SYSTEM_TENANT, Principal, Services
from environments.companyos.storage.sql import SqlTx

LATEST = 200  # audit entries and events that it holds
AUDIT = ("at", "actor", "action", "objectType", "objectId", "outcome")


def trail(services: Services, tenant: str) -> list[dict[str, Any]]:
    """The latest audit entries of the tenant, oldest first; of no other, and of none that had its name before."""
    sql = (
        "SELECT at, actor, action, object_type, object_id, outcome FROM audit WHERE tenant = :whose AND seq >"
        " (SELECT coalesce(max(seq), 0) FROM audit WHERE action = 'tenant.gone' AND object_id = :whose)"
        " ORDER BY seq DESC LIMIT :limit"
    )
    with services.store.transaction(SYSTEM_TENANT) as tx:
        found = cast(SqlTx, tx).rows(sql, whose=tenant, limit=LATEST)
    return [dict(zip(AUDIT, row, strict=True)) for row in reversed(found)]


def bundle(services: Services, principal: Principal) -> dict[str, Any]:
    tenant = principal.tenant
    with services.store.transaction(tenant) as tx:
        counts = {**tx.counts(), "user": len(tx.list_users())}
        last = cast(SqlTx, tx).rows("SELECT last FROM event_counters WHERE {scope}")
        events = tx.events_after(max(0, int(last[0][0]) - LATEST) if last else 0, LATEST)
    return {
        "product": discovery.PRODUCT,
        "created": services.clock.stamp(),
        "tenant": tenant,
        "discovery": discovery.document(services),
        "counts": counts,
        "audit": trail(services, tenant),
        "events": events,
    }


def routes(services: Services) -> list[Route]:
    async def post_bundle(request: Request) -> Response:
        principal = await run_in_threadpool(services.authenticate, request)
        if principal.tenant == SYSTEM_TENANT or not principal.has("admin"):
            raise ApiError("FORBIDDEN", message="the tenant's administrator asks for support")
        await run_in_threadpool(services.authorize, principal, "export.create", "export")
        made = await run_in_threadpool(bundle, services, principal)
        return JSONResponse(made, headers={"Content-Disposition": "attachment"})

    return [Route("/v1/support-bundle", post_bundle, methods=["POST"])]

"""Tenants of a hosted node: made and removed by its operator.

A tenant that is to be removed is marked first; from that commit on its tokens are refused by every service. The data
service then removes its rows, its data key, its objects, its part of the graph and what is in memory, again and again
until a look a while later finds nothing: a request that had begun before the mark may still have written. The mark is
in the database, so a removal that was interrupted goes on after the restart.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import log, metering, objects, web
from environments.companyos.errors import ApiError
from environments.companyos.identity import hash_password
from environments.companyos.services import Principal, Services
from environments.companyos.storage import tenancies
from environments.companyos.storage.rows import storable

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
PASSWORD_CHARACTERS = 12  # the fewest that a password may have
POLL_S = 1.0
QUIET_S = 2.0  # longer than a request works on after it was let in


def create(services: Services, who: Principal, body: dict[str, Any]) -> dict[str, Any]:
    """A tenant with its administrator, both or neither. ApiError INVALID, CONFLICT."""
    tenant, admin = body.get("tenant"), body.get("admin")
    if not isinstance(tenant, str) or not NAME.fullmatch(tenant):
        raise ApiError("INVALID", message="tenant is 1 to 63 small letters, digits and dashes")
    fields = [admin.get(name) for name in ("username", "password")] if isinstance(admin, dict) else []
    if not fields or not all(isinstance(each, str) and 0 < len(each) <= 200 and storable(each) for each in fields):
        raise ApiError("INVALID", message="admin has a username and a password")
    username, password = (str(each) for each in fields)
    if len(password) < PASSWORD_CHARACTERS:
        raise ApiError("INVALID", message=f"a password has at least {PASSWORD_CHARACTERS} characters")
    rate_per_s = body.get("rate_per_s")
    if rate_per_s is not None and not (type(rate_per_s) in (int, float) and 1 <= rate_per_s <= 1_000_000):
        raise ApiError("INVALID", message="rate_per_s is a number of requests per second, 1 to 1 000 000")
    with services.store.transaction(tenant) as tx:
        if not tenancies.add(tx):
            raise ApiError("CONFLICT", message="there is such a tenant")
        tx.put_user({"username": username, "passwordHash": hash_password(password), "roles": ["admin"]})
        tx.append_audit(services.audit.entry(who.tenant, who.sub, "tenant.create", "tenant", tenant))
    if rate_per_s is not None:
        services.store.meta_set(f"rate_per_s.{tenant}", str(float(rate_per_s)))
    metering.forget(services, tenant)
    return {"tenant": tenant, "state": "ACTIVE"}


def delete(services: Services, who: Principal, tenant: str) -> dict[str, Any]:
    """From here on it is being removed. ApiError NOT_FOUND."""
    with services.store.transaction(who.tenant) as tx:
        if not tenancies.leave(tx, tenant):
            raise ApiError("NOT_FOUND", message="no such tenant")
        tx.append_audit(services.audit.entry(who.tenant, who.sub, "tenant.delete", "tenant", tenant))
    return {"tenant": tenant, "state": "LEAVING"}


def status(services: Services, tenant: str) -> dict[str, Any]:
    state = tenancies.state(services.store, tenant)
    if state is None:
        raise ApiError("NOT_FOUND", message="no such tenant")
    return {"tenant": tenant, "state": state}


# the removal, in the data service


def remove(services: Services, tenant: str, tenancy: str) -> int:
    """Everything of it that is there now; how many rows that were."""
    with services.store.transaction(tenant) as tx:
        removed = tenancies.remove_rows(tx)
    objects.of(services).remove_area(tenancy)
    if services.store.sealer is not None:
        services.store.sealer.drop(tenant)
    for kept in ("vectors", "persisted"):
        if kept in services.extra:
            services.extra[kept].forget(tenant)
    return removed


def graph_follows(services: Services) -> bool:
    """Whether the graph has nothing more to take out."""
    return services.graph.derived or services.graph.check()[0]


def finish(services: Services, tenant: str) -> None:
    with services.store.transaction("_system") as tx:
        tenancies.gone(tx, tenant)
        tx.append_audit(services.audit.entry("_system", "node", "tenant.gone", "tenant", tenant))


class Leaver(threading.Thread):
    def __init__(self, services: Services) -> None:
        super().__init__(name="leaver", daemon=True)
        self.services = services
        self.quiet_since: dict[str, float] = {}  # tenancy -> when a look last found something, monotonic

    def run(self) -> None:
        pause = threading.Event()
        while not pause.wait(POLL_S):
            try:
                self.round()
            except ApiError as error:
                log.warning("removal waits", code=error.code)
            except Exception as error:  # the thread must live: nobody else removes
                log.crash("leaver", error)

    def round(self) -> None:
        for tenant, tenancy in tenancies.leaving(self.services.store):
            removed = remove(self.services, tenant, tenancy)
            now = time.monotonic()
            since = self.quiet_since.setdefault(tenancy, now)
            if removed:
                self.quiet_since[tenancy] = now
            elif now - since >= QUIET_S and graph_follows(self.services):
                finish(self.services, tenant)
                del self.quiet_since[tenancy]


def start(services: Services) -> None:
    Leaver(services).start()


def routes(services: Services) -> list[Route]:
    async def operator(request: Request) -> Principal:
        return await run_in_threadpool(services.require_operator, request)

    async def post_tenant(request: Request) -> Response:
        who = await operator(request)
        body = await web.read_json(request)
        return JSONResponse(await run_in_threadpool(create, services, who, body), 201)

    async def delete_tenant(request: Request) -> Response:
        who = await operator(request)
        return JSONResponse(await run_in_threadpool(delete, services, who, request.path_params["tenant"]), 202)

    async def get_tenant(request: Request) -> Response:
        await operator(request)
        return JSONResponse(await run_in_threadpool(status, services, request.path_params["tenant"]))

    return [
        Route("/v1/tenants", post_tenant, methods=["POST"]),
        Route("/v1/tenants/{tenant}", delete_tenant, methods=["DELETE"]),
        Route("/v1/tenants/{tenant}", get_tenant),
    ]

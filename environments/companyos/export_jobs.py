"""Archives of a tenant, made in the background: asked for now, fetched later by a signed address (objects.py).

The queue is in the database, so a job that was interrupted is done after the restart. It is done for the tenant of the
queue's row and in the name of who asked; nothing in what was asked says whose it is. Doing a job twice makes the same
object. Payload `pause_s` (0 to 5) waits before the job, so that a crash can be placed.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import clock, errors, limits, log, migration, objects, web
from environments.companyos.errors import TRY_AGAIN, ApiError
from environments.companyos.services import SYSTEM_TENANT, Principal, Services
from environments.companyos.storage import exports
from environments.companyos.storage.base import Doc
from environments.companyos.storage.rows import storable

POLL_S = 1.0  # how long a job waits that nobody announced (left by a crash)
SWEEP_S = 10.0  # between looks for artefacts whose time is over


def enqueue(services: Services, principal: Principal, payload: dict[str, Any]) -> Doc:
    """`{id, state, key}` of a new job of the principal's tenant. ApiError INVALID."""
    name = payload.get("name")
    if not isinstance(name, str) or not objects.NAME.fullmatch(name) or not storable(payload):
        raise ApiError("INVALID", message="name is 1 to 100 letters, digits, dots, dashes and underscores")
    id_ = str(uuid.uuid4())
    job = {
        "id": id_,
        "key": f"{id_}/{name}",
        "payload": payload,
        "createdBy": principal.sub,
        "createdAt": services.clock.stamp(),
    }
    with services.store.transaction(principal.tenant) as tx:
        exports.add(tx, job)
        tx.append_audit(services.audit.entry(tx.tenant, principal.sub, "export.enqueue", "export", id_))
    worker = services.extra.get("export_jobs")
    if worker is not None:
        worker.announced.set()
    return {"id": id_, "state": "QUEUED", "key": job["key"]}


def status(services: Services, principal: Principal, id_: str) -> Doc:
    with services.store.transaction(principal.tenant) as tx:
        job = exports.get(tx, id_)
    if job is None:
        raise objects.missing()
    return {name: job[name] for name in ("id", "state", "key", "bytes")}


# the work


def tenant_of(queued: tuple[str, str], job: Doc) -> str:
    """Whose job it is: the queue's row alone says that."""
    return queued[0]


def perform(services: Services, queued: tuple[str, str]) -> None:
    """Do one job. The object is there before the job says so."""
    tenant, id_ = queued
    with services.store.transaction(tenant) as tx:
        job = exports.get(tx, id_)
        if job is not None:
            if tx.get_user(job["createdBy"]) is None:
                raise ApiError("FORBIDDEN", message="who asked has no account any more")
            exports.begin(tx, id_)
        else:
            exports.end(tx, id_, "FAILED")
    area = services.store.tenancy(tenant)
    if job is None or area is None:
        return
    made = archive(services, tenant_of(queued, job), job)
    with services.store.transaction(tenant) as tx:
        objects.of(services).put(tx, area, job["key"], made)
        kept = exports.end(tx, id_, "SUCCEEDED", len(made))
    if not kept:  # the tenant was removed meanwhile
        objects.of(services).remove(area, job["key"])


def archive(services: Services, tenant: str, job: Doc) -> bytes:
    """What the job is to make: the archive that the tenant's administrator could have had at once."""
    return migration.export(services, Principal(job["createdBy"], tenant, ("admin",), 0.0), "tenant")


def fail(services: Services, queued: tuple[str, str]) -> None:
    with services.store.transaction(queued[0]) as tx:
        exports.end(tx, queued[1], "FAILED")


def sweep(services: Services) -> None:
    """Delete the artefacts whose time is over."""
    before = clock.stamp(services.clock.now() - limits.OBJECT_RETENTION_S)
    for tenant in services.store.tenants():
        area = services.store.tenancy(tenant)
        with services.store.transaction(tenant) as tx:
            keys = exports.forget(tx, before)
        for key in keys if area is not None else []:
            objects.of(services).remove(area or "", key)


class Worker(threading.Thread):
    def __init__(self, services: Services) -> None:
        super().__init__(name="exports", daemon=True)
        self.services = services
        self.announced = threading.Event()
        self.due: dict[tuple[str, str], float] = {}  # job -> monotonic time from which it may be done
        self.swept_at = 0.0

    def run(self) -> None:
        while True:
            wait_s = POLL_S
            try:
                wait_s = self.round()
            except ApiError as error:
                log.warning("exports wait", code=error.code)
            except Exception as error:  # the thread must live: nobody else does the jobs
                log.crash("exports", error)
            self.announced.wait(wait_s)
            self.announced.clear()

    def round(self) -> float:
        """Every job that is due; seconds until the next one is."""
        waiting = exports.queued(self.services.store)
        self.due = {key: self.due.get(key) or time.monotonic() + self._pause_s(key) for key in waiting}
        for key in [key for key in waiting if self.due[key] <= time.monotonic()]:
            self._perform(key)
        if time.monotonic() - self.swept_at > SWEEP_S:
            sweep(self.services)
            self.swept_at = time.monotonic()
        now = time.monotonic()
        return max(0.0, min([POLL_S, *(at - now for at in self.due.values() if at > now)]))

    def _pause_s(self, key: tuple[str, str]) -> float:
        with self.services.store.transaction(key[0]) as tx:
            job = exports.get(tx, key[1])
        value = job["payload"].get("pause_s", 0.0) if job else 0.0
        return min(max(float(value), 0.0), 5.0) if isinstance(value, (int, float)) else 0.0

    def _perform(self, key: tuple[str, str]) -> None:
        try:
            perform(self.services, key)
        except ApiError as error:
            if error.code in TRY_AGAIN:
                raise
            log.warning("export failed", code=error.code, job=key[1])
            fail(self.services, key)
        except OSError as error:  # no space for the artefact: what was acknowledged is the job, which waits
            raise errors.of_disk(error) or error from None


def start(services: Services) -> None:
    worker = Worker(services)
    services.extra["export_jobs"] = worker
    worker.start()


def routes(services: Services) -> list[Route]:
    async def administrator(request: Request) -> Principal:
        principal = await run_in_threadpool(services.authenticate, request)
        if principal.tenant == SYSTEM_TENANT or not principal.has("admin"):
            raise ApiError("FORBIDDEN", message="the tenant's administrator exports")
        await run_in_threadpool(services.authorize, principal, "export.create", "export")
        return principal

    async def post_export(request: Request) -> Response:
        principal = await administrator(request)
        payload = await web.read_json(request)
        return JSONResponse(await run_in_threadpool(enqueue, services, principal, payload), 202)

    async def get_export(request: Request) -> Response:
        principal = await administrator(request)
        return JSONResponse(await run_in_threadpool(status, services, principal, request.path_params["id"]))

    return [
        Route("/v1/exports", post_export, methods=["POST"]),
        Route("/v1/exports/{id}", get_export),
    ]

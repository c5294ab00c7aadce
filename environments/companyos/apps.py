"""From a configuration to services, and from services to the application of one role."""

from __future__ import annotations

import importlib
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from environments.companyos import discovery, errors, health, limits, log, web
from environments.companyos.audit import AuditLog
from environments.companyos.clock import Clock
from environments.companyos.config import NodeConfig
from environments.companyos.events import EventLog
from environments.companyos.identity import Identity
from environments.companyos.keys import open_key_store
from environments.companyos.keys.sealing import Sealer
from environments.companyos.metrics import Metrics
from environments.companyos.policy import PolicyEngine
from environments.companyos.services import Services
from environments.companyos.storage.base import Store
from environments.companyos.storage.open import open_graph, open_store
from environments.companyos.throttle import Throttle


def build_services(config: NodeConfig, role: str) -> Services:
    clock = Clock(config.clock_file)
    store = open_store(config)
    graph = open_graph(config, store, role)
    if not graph.derived:
        store.mirror = graph.mirror
    if config.key_store is not None and role != "control":  # the control plane handles no content
        store.sealer = Sealer(open_key_store(config.key_store), config.key_store.recheck_s)
    policy = PolicyEngine(clock) if config.opa_url is None else served_policy(config, clock)
    policy.load_default()
    return Services(
        config=config,
        role=role,
        clock=clock,
        store=store,
        graph=graph,
        identity=Identity(config, store, clock),
        policy=policy,
        audit=AuditLog(store, clock),
        events=EventLog(store),
        metrics=Metrics(),
        throttle=Throttle(lambda tenant: tenant_rate(config, store, tenant)),
    )


def tenant_rate(config: NodeConfig, store: Store, tenant: str) -> float | None:
    """Of the tenant's plan, or the node's default; only a shared node limits."""
    if config.mode != "A":
        return None
    try:
        agreed = store.meta_get(f"rate_per_s.{tenant}")
    except errors.ApiError:  # the database is away, and so is whatever would be asked of it
        agreed = None
    return limits.TENANT_RATE_PER_S if agreed is None else float(agreed)


def served_policy(config: NodeConfig, clock: Clock) -> PolicyEngine:
    from environments.companyos.policy_server import ServedPolicy

    return ServedPolicy(clock, config.opa_url or "", config.data_dir)


def module(name: str) -> Any:
    """A module of this package, imported when a role needs it."""
    return importlib.import_module(f"environments.companyos.{name}")


def routes(services: Services) -> list[BaseRoute]:
    """docs/contract.md, "Words": what each role mounts."""
    config, role = services.config, services.role
    mounted: list[BaseRoute] = [*health.routes(services)]
    local_administration = role == "edge" or (role == "data" and config.variant == "tethered")
    if role in ("data", "edge"):
        mounted += discovery.routes(services)
        mounted += module("release").routes(services)
        mounted += module("graphql_api").routes(services)
        mounted += module("ui").routes(services)
        mounted += module("streaming").routes(services)
        mounted += web.inference_routes(services)
        mounted += module("sync").routes(services)
        mounted += module("migration").routes(services)
    if role == "data":
        mounted += module("export_jobs").routes(services)
        mounted += module("objects").routes(services)
        mounted += module("support").routes(services)
    if role == "data" and config.opa_url is not None:
        mounted += module("policy_server").routes(services)
    if role == "control":
        mounted += module("tether").control_routes(services)
        if config.mode in ("A", "B"):
            mounted += module("billing").routes(services)
            mounted += module("accounts").routes(services)
            mounted += module("tenants").routes(services)
    if role == "control" or local_administration:
        mounted += web.identity_routes(services)
        mounted += module("admin").routes(services)
    return mounted


def start_background(services: Services) -> None:
    """Policy first: the last known good one is in force before the first request."""
    if services.store.sealer is not None:
        services.store.sealer.start()
    module("tether").start(services)
    services.graph.start()
    if services.role in ("data", "edge"):
        module("maestro").start(services)
    if services.role == "data":
        module("export_jobs").start(services)
        if services.config.mode in ("A", "B"):
            module("tenants").start(services)
    if services.role == "edge":
        module("sync").start(services)
    if services.role == "control" and services.config.mode in ("A", "B"):
        module("metering").start(services)


def private(message: Message) -> None:
    """What is answered to one is kept by nobody between, unless the answer itself says otherwise."""
    headers = message.setdefault("headers", [])
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"no-store"))


class Outermost:
    """Counts answers; a crash below becomes a 500 that tells nothing, and a log line without values."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                private(message)
                self.services.metrics.request(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except Exception as error:
            if not started:  # errors.on_crash has answered and logged the rest
                log.crash("asgi", error)
                await JSONResponse({"error": {"code": "INTERNAL", "message": "internal error"}}, 500)(
                    scope, receive, send
                )


def create_app(services: Services) -> ASGIApp:
    middleware = []
    if services.role == "control":  # the page of the data service signs in here
        allowed = module("ui").origins(services.config)
        middleware.append(
            Middleware(CORSMiddleware, allow_origins=allowed, allow_methods=["POST"], allow_headers=["content-type"])
        )
    mounted = routes(services)
    app = Starlette(routes=mounted, exception_handlers=dict(errors.HANDLERS), middleware=middleware)
    if services.config.mode == "D":  # no file of an edge node grows with what is asked
        return Outermost(app, services)
    return Outermost(module("traces").Traced(app, services, mounted), services)

"""Health tells the truth and asks nothing beyond the site: the node's own databases and its policy."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos.errors import ApiError
from environments.companyos.keys.sealing import Sealer
from environments.companyos.services import Services


def check_database(services: Services) -> tuple[bool, str]:
    try:
        services.store.ping()
    except ApiError as error:
        return False, error.message
    return True, services.store.kind


def check_policy(services: Services) -> tuple[bool, str]:
    return services.policy.check()


def check_keys(sealer: Sealer) -> tuple[bool, str]:
    why = sealer.check()
    return not why, why or sealer.store.kind


def checks(services: Services) -> dict[str, dict[str, Any]]:
    results = {"database": check_database(services), "policy": check_policy(services)}
    if services.store.sealer is not None:
        results["keys"] = check_keys(services.store.sealer)
    if not services.graph.derived:
        results["graph"] = services.graph.check()
    return {name: {"ok": ok, "detail": detail} for name, (ok, detail) in results.items()}


def routes(services: Services) -> list[Route]:
    async def alive(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    def ready(request: Request) -> Response:
        found = checks(services)
        good = all(check["ok"] for check in found.values())
        return JSONResponse({"ready": good, "checks": found}, 200 if good else 503)

    def metrics(request: Request) -> Response:
        gauges = {"companyos_policy_revision": float(services.policy.revision)}
        if services.config.mode == "D":
            gauges["companyos_sync_backlog"] = float(services.store.backlog())
        return Response(services.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    return [Route("/healthz", alive), Route("/readyz", ready), Route("/metrics", metrics)]

"""What the node says of itself. Claims only: the suite probes each of them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import inference, limits
from environments.companyos.config import NodeConfig
from environments.companyos.services import Services

PRODUCT = "companyos"
SERVED = ("control", "data", "edge")  # what else a node is made of listens on loopback


def components(services: Services) -> dict[str, dict[str, Any]]:
    mode = services.config.mode
    edge, hosted = mode == "D", mode in ("A", "B")
    infers = inference.answers(services.config.model_server)

    def part(present: bool, kind: str) -> dict[str, Any]:
        return {"present": present, "kind": kind if present else "none"}

    engine = {"version": services.store.engine}
    return {
        "postgres": part(not edge, "postgresql") | ({} if edge else engine),
        "sqlite": part(edge, "sqlite") | (engine if edge else {}),
        "graph": part(True, services.graph.kind),
        "policy": part(True, services.policy.kind),
        "maestro": part(True, "local-agent" if edge else "orchestrator"),
        "inference": part(infers, "slm" if edge else "llm"),
        "billing": part(hosted, "stripe"),
        "directory": part(hosted, "own" if mode == "A" else "federated"),
    }


def capabilities(services: Services) -> list[str]:
    mode = services.config.mode
    found = {"graphql", "graph", "search", "events", "runs", "policy"}
    found |= {"sync"} if mode == "D" else {"investigations", "sync-receiver", "export", "import"}
    if mode in ("A", "B"):
        found |= {"billing", "directory"}
    if mode != "A":
        found |= {"licence", "bundle"}
    if inference.answers(services.config.model_server):
        found.add("inference")
    return sorted(found)


def keys(config: NodeConfig) -> dict[str, Any]:
    """Who keeps the wrapping key, and how long its withdrawal can take to show."""
    if config.key_store is None:
        return {"kind": "none"}
    return {"kind": config.key_store.kind, "recheck_s": config.key_store.recheck_s}


def bounds(mode: str) -> dict[str, float]:
    """What artefacts and removed tenants are promised, where there are any."""
    objects = {"object_url_ttl_s": limits.OBJECT_URL_TTL_S, "object_retention_s": limits.OBJECT_RETENTION_S}
    return {**({} if mode == "D" else objects), **({"deletion_s": limits.DELETION_S} if mode in ("A", "B") else {})}


def document(services: Services) -> dict[str, Any]:
    config = services.config
    return {
        "product": PRODUCT,
        "node_id": config.node_id,
        "mode": config.mode,
        "variant": config.variant,
        "version": config.version,
        "schema_version": config.schema_version,
        "components": components(services),
        "capabilities": capabilities(services),
        "limits": {
            "page_size": limits.PAGE_SIZE,
            "max_depth": limits.MAX_DEPTH,
            "max_bundle_bytes": limits.MAX_BUNDLE_BYTES,
            "max_batch": limits.MAX_BATCH,
            "cold_start_s": limits.COLD_START_S[config.mode],
            "revocation_s": limits.REVOCATION_S,
            **({"tenant_rate_per_s": limits.TENANT_RATE_PER_S} if config.mode == "A" else {}),
            **bounds(config.mode),
            **({"directory_recheck_s": config.directory.recheck_s} if config.directory else {}),
        },
        "keys": keys(config),
        "ports": [
            {"service": service, "port": port, "interface": config.listen if service in SERVED else "127.0.0.1"}
            for service, port in sorted(config.ports.items())
        ],
    }


def routes(services: Services) -> list[Route]:
    def well_known(request: Request) -> Response:
        return JSONResponse(document(services))

    return [Route("/.well-known/companyos", well_known)]

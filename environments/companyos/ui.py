"""The web frontend: one page and its files, on every node's API port, none of them from elsewhere. `GET /v1/status`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from environments.companyos import licensing, sync
from environments.companyos.config import NodeConfig
from environments.companyos.services import Services

FOLDER = Path(__file__).parent / "ui"
# Named here and not asked of the host, whose tables differ: a module of another type is not run.
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
GUARDS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


@dataclass(frozen=True)
class Asset:
    content: bytes
    media_type: str


def assets(services: Services) -> dict[str, Asset]:
    """Path -> file, of everything that the page is made of."""
    found = {}
    for file in sorted(FOLDER.iterdir()):
        if media_type := MEDIA_TYPES.get(file.suffix):
            path = "/" if file.name == "index.html" else f"/ui/{file.name}"
            found[path] = Asset(file.read_bytes(), media_type)
    page = found["/"].content.replace(b"{identity_port}", str(identity_port(services)).encode())
    return found | {"/": Asset(page, "text/html")}


def identity_port(services: Services) -> int:
    """Where the page signs in: its own port, or the control plane's of the same site."""
    ports = services.config.ports
    return ports["control"] if services.role == "data" and "control" in ports else ports[services.role]


def policy(services: Services, scheme: str, host: str) -> str:
    """The browser may talk to this node alone, and runs no script but its files."""
    here = services.config.ports[services.role] == identity_port(services)
    identity = "" if here or not HOST.fullmatch(host) else f" {scheme}://{host}:{identity_port(services)}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{identity}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def origins(config: NodeConfig) -> list[str]:
    """Pages that may sign in at the control plane: those of the node's own data service."""
    hosts = dict.fromkeys((config.listen, "127.0.0.1", "localhost"))
    return [f"http://{host}:{config.ports['data']}" for host in hosts] if "data" in config.ports else []


def status(services: Services, tenant: str) -> dict[str, Any]:
    """What anyone signed in may know of the node: how far their tenant's writes have come, whether it is licensed."""
    config = services.config
    carried = config.mode == "D" and config.parent_url is not None
    return {
        "sync": sync.standing(services, tenant) if carried else None,
        "licence": {"state": licensing.look(services)} if config.mode != "A" else None,
    }


def routes(services: Services) -> list[BaseRoute]:
    def serve(path: str, asset: Asset) -> Route:
        def file(request: Request) -> Response:
            name = request.url.hostname or ""
            host = f"[{name}]" if ":" in name else name
            headers = {**GUARDS, "Content-Security-Policy": policy(services, request.url.scheme, host)}
            return Response(asset.content, media_type=asset.media_type, headers=headers)

        return Route(path, file)

    def get_status(request: Request) -> Response:
        principal = services.authenticate(request)
        services.authorize(principal, "me.read", "node", services.config.node_id)
        return JSONResponse(status(services, principal.tenant), headers={"Cache-Control": "no-store"})

    return [*(serve(path, asset) for path, asset in assets(services).items()), Route("/v1/status", get_status)]

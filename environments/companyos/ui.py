"""The web frontend: one page without any asset from elsewhere, on every node's API port."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from environments.companyos.config import NodeConfig
from environments.companyos.services import Services

PAGE = Path(__file__).parent / "ui" / "index.html"


def identity_port(services: Services) -> int:
    """Where the page signs in: its own port, or the control plane's of the same site."""
    ports = services.config.ports
    return ports["control"] if services.role == "data" and "control" in ports else ports[services.role]


def page(services: Services) -> str:
    return PAGE.read_text().replace("{identity_port}", str(identity_port(services)))


def headers(services: Services, request: Request) -> dict[str, str]:
    """The browser may talk to this node alone."""
    identity = f"{request.url.scheme}://{request.url.hostname}:{identity_port(services)}"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self' {identity}"
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def origins(config: NodeConfig) -> list[str]:
    """Pages that may sign in at the control plane: those of the node's own data service."""
    hosts = dict.fromkeys((config.listen, "127.0.0.1", "localhost"))
    return [f"http://{host}:{config.ports['data']}" for host in hosts] if "data" in config.ports else []


def routes(services: Services) -> list[Route]:
    def index(request: Request) -> Response:
        return HTMLResponse(page(services), headers=headers(services, request))

    return [Route("/", index)]

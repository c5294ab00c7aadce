"""The small routes: login, keys, events, inference. Shared helpers for reading a request."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from environments.companyos import inference
from environments.companyos.errors import ApiError
from environments.companyos.identity import TOKEN_TTL_S
from environments.companyos.services import SYSTEM_TENANT, Services
from environments.companyos.storage.rows import storable

MAX_JSON_BYTES = 1 << 20


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object of at most MAX_JSON_BYTES; ApiError INVALID otherwise."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_JSON_BYTES:
            raise ApiError("INVALID", 413, "the body is too large")
    try:
        body = json.loads(bytes(raw))
    except (ValueError, RecursionError) as error:
        raise ApiError("INVALID", message="the body is not JSON") from error
    if not isinstance(body, dict):
        raise ApiError("INVALID", message="the body is not a JSON object")
    return body


def number(request: Request, name: str, default: int = 0) -> int:
    """A query parameter that is a whole number from 0 to 2^31-1."""
    value = request.query_params.get(name, str(default))
    if not value.isascii() or not value.isdigit() or int(value[:12]) >= 1 << 31:
        raise ApiError("INVALID", message=f"{name} is not a number")
    return int(value)


def login(services: Services, body: dict[str, Any]) -> dict[str, Any]:
    fields = [body.get(name) for name in ("tenant", "username", "password")]
    if not all(isinstance(field, str) and field and len(field) <= 200 and storable(field) for field in fields):
        raise ApiError("INVALID", message="tenant, username and password are required")
    tenant, username, password = (str(field) for field in fields)
    try:
        token = services.identity.login(tenant, username, password)
    except ApiError:
        services.audit.append(tenant, username, "login", "user", username, "denied")
        raise
    services.audit.append(tenant, username, "login", "user", username)
    return {"accessToken": token, "tokenType": "Bearer", "expiresIn": TOKEN_TTL_S}


def come_back(services: Services, request: Request) -> dict[str, Any]:
    """From the customer's provider, with what it gave."""
    state, code = (request.query_params.get(name, "") for name in ("state", "code"))
    if not state or not code or len(state) + len(code) > 4000:
        raise ApiError("UNAUTHENTICATED", message="the provider did not let the person in")
    tenant = services.config.directory.tenant if services.config.directory else SYSTEM_TENANT
    try:
        token = services.identity.finish(state, code)
    except ApiError:
        services.audit.append(tenant, "federated", "login", "user", "federated", "denied")
        raise
    username = services.identity.verify(token).sub
    services.audit.append(tenant, username, "login", "user", username)
    return {"accessToken": token, "tokenType": "Bearer", "expiresIn": TOKEN_TTL_S}


def federation_routes(services: Services) -> list[Route]:
    def start(request: Request) -> Response:
        return RedirectResponse(services.identity.begin(), 302, {"Cache-Control": "no-store"})

    def callback(request: Request) -> Response:
        return JSONResponse(come_back(services, request), headers={"Cache-Control": "no-store"})

    return [Route("/v1/auth/oidc/start", start), Route("/v1/auth/oidc/callback", callback)]


def identity_routes(services: Services) -> list[Route]:
    async def log_in(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(login, services, await read_json(request)))

    async def keys(request: Request) -> Response:
        return JSONResponse(services.identity.jwks())

    mounted = [Route("/v1/auth/login", log_in, methods=["POST"]), Route("/v1/auth/jwks.json", keys)]
    return mounted + (federation_routes(services) if services.config.mode == "B" else [])


def inference_routes(services: Services) -> list[Route]:
    async def chat(request: Request) -> Response:
        principal = await run_in_threadpool(services.authenticate, request)
        if services.config.model_server is None:
            raise ApiError("CAPABILITY_ABSENT", message="this node has no model server")
        await run_in_threadpool(services.authorize, principal, "inference.use", "inference")
        body = await read_json(request)
        status, content, media = await run_in_threadpool(inference.complete, services.config.model_server, body)
        return Response(content, status, media_type=media)

    return [Route("/v1/chat/completions", chat, methods=["POST"])]

"""Administration over HTTP: licence, bundle, policy status, audit, promotion. For operators."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import bundle, jws, licensing, limits, tether, upload
from environments.companyos.errors import ApiError
from environments.companyos.services import Principal, Services

AUDIT_PAGE = 1000


def offline_only(services: Services) -> None:
    """SaaS has neither licences nor bundles: the vendor runs it."""
    if services.config.mode == "A":
        raise ApiError("UNSUPPORTED_IN_MODE", message="not in this mode")


async def operator(services: Services, request: Request) -> Principal:
    """The operator who asks; ApiError UNAUTHENTICATED or FORBIDDEN."""
    return await run_in_threadpool(services.require_operator, request)


def recorded(services: Services, who: Principal, action: str, type_: str, change: Any, *arguments: Any) -> Any:
    """Do it and write the audit entry, of a refusal too."""
    try:
        result = change(services, *arguments)
    except ApiError as error:
        services.audit.append(who.tenant, who.sub, action, type_, services.config.node_id, error.code)
        raise
    services.audit.append(who.tenant, who.sub, action, type_, services.config.node_id)
    return result


def promote(services: Services, body: Any) -> dict[str, Any]:
    """An edge node stays an edge node: its data reaches a core by sync alone."""
    if not isinstance(body, dict) or not isinstance(body.get("to"), str):
        raise ApiError("INVALID", message="to is required")
    if services.config.mode == "D":
        raise ApiError("PROMOTION_REFUSED", message="an edge node cannot become another kind of node")
    raise ApiError("CONFLICT", message="this is a core node already")


def after(request: Request) -> int:
    text = request.query_params.get("after", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ApiError("INVALID", message="after must be a number")
    return int(text)


def routes(services: Services) -> list[Route]:
    async def put_licence(request: Request) -> Response:
        who = await operator(services, request)
        offline_only(services)
        raw = await upload.read(request, jws.MAX_BYTES, "LICENCE_MALFORMED")
        call = (services, who, "licence.install", "licence", licensing.install, raw)
        return JSONResponse(await run_in_threadpool(recorded, *call))

    async def get_licence(request: Request) -> Response:
        await operator(services, request)
        offline_only(services)
        return JSONResponse(await run_in_threadpool(licensing.status, services))

    async def put_bundle(request: Request) -> Response:
        who = await operator(services, request)
        offline_only(services)
        too_large = ApiError("BUNDLE_SIZE", message="the bundle is too large")
        path = await upload.spool(services, request, limits.MAX_BUNDLE_BYTES, too_large)
        try:
            call = (services, who, "bundle.apply", "bundle", bundle.apply, path)
            return JSONResponse(await run_in_threadpool(recorded, *call))
        finally:
            upload.discard(path)

    async def get_bundle(request: Request) -> Response:
        await operator(services, request)
        offline_only(services)
        return JSONResponse(await run_in_threadpool(bundle.status, services))

    async def get_policy(request: Request) -> Response:
        await operator(services, request)
        return JSONResponse(tether.status(services))

    async def get_audit(request: Request) -> Response:
        await operator(services, request)
        entries = await run_in_threadpool(services.audit.after, after(request), AUDIT_PAGE)
        following = entries[-1]["seq"] if entries else after(request)
        return JSONResponse({"entries": entries, "next": following})

    async def put_promote(request: Request) -> Response:
        who = await operator(services, request)
        raw = await upload.read(request, 64 * 1024, "INVALID")
        try:
            body = jws.parse_json(raw)
        except jws.JwsError as error:
            raise ApiError("INVALID", message=str(error)) from None
        return JSONResponse(await run_in_threadpool(recorded, services, who, "node.promote", "node", promote, body))

    upload.clean(services)
    bundle.clean(services)
    return [
        Route("/v1/licence", put_licence, methods=["PUT"]),
        Route("/v1/licence", get_licence, methods=["GET"]),
        Route("/v1/bundle", put_bundle, methods=["PUT"]),
        Route("/v1/bundle", get_bundle, methods=["GET"]),
        Route("/v1/policy", get_policy, methods=["GET"]),
        Route("/v1/audit", get_audit, methods=["GET"]),
        Route("/v1/promote", put_promote, methods=["POST"]),
    ]

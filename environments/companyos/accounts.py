"""People of a tenant, kept by its administrator: modes A and B, on the control plane."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos.errors import ApiError
from environments.companyos.identity import hash_password
from environments.companyos.services import Principal, Services
from environments.companyos.storage.base import Doc
from environments.companyos.storage.rows import storable
from environments.companyos.web import read_json

ROLES = frozenset({"admin", "analyst", "viewer"})
SHORTEST_PASSWORD = 8


def shown(user: Doc) -> dict[str, Any]:
    return {"username": user["username"], "roles": user["roles"], "disabled": user["disabled"]}


def listed(services: Services, principal: Principal) -> list[dict[str, Any]]:
    with services.store.transaction(principal.tenant) as tx:
        return [shown(user) for user in tx.list_users()]


def name_of(value: Any) -> str:
    good = isinstance(value, str) and 0 < len(value) <= 200 and storable(value) and ":" not in value
    if not good:
        raise ApiError("INVALID", message="username is not a usable name")
    return str(value)


def roles_of(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(role, str) and role in ROLES for role in value):
        raise ApiError("INVALID", message=f"roles are some of {', '.join(sorted(ROLES))}")
    return sorted(set(value))


def hash_of(value: Any) -> str:
    if not isinstance(value, str) or not SHORTEST_PASSWORD <= len(value) <= 200 or not storable(value):
        raise ApiError("INVALID", message=f"password has {SHORTEST_PASSWORD} to 200 characters")
    return hash_password(value)


def create(services: Services, principal: Principal, body: Doc) -> dict[str, Any]:
    """ApiError CONFLICT if the tenant has that name already; other tenants' names do not matter."""
    user: Doc = {
        "username": name_of(body.get("username")),
        "passwordHash": hash_of(body.get("password")),
        "roles": roles_of(body.get("roles")),
        "disabled": False,
    }
    with services.store.transaction(principal.tenant) as tx:
        if tx.get_user(user["username"]) is not None:
            raise ApiError("CONFLICT", message="already exists")
        tx.put_user(user)
        entry = (tx.tenant, principal.sub, "directory.create", "user", user["username"])
        tx.append_audit(services.audit.entry(*entry))
    return shown(user)


def change(services: Services, principal: Principal, username: str, body: Doc) -> dict[str, Any]:
    """Roles, password, or whether the account is disabled. ApiError NOT_FOUND."""
    changes: Doc = {}
    if "roles" in body:
        changes["roles"] = roles_of(body["roles"])
    if "password" in body:
        changes["passwordHash"] = hash_of(body["password"])
    if "disabled" in body:
        if not isinstance(body["disabled"], bool):
            raise ApiError("INVALID", message="disabled is true or false")
        changes["disabled"] = body["disabled"]
    with services.store.transaction(principal.tenant) as tx:
        before = tx.get_user(username) if storable(username) else None
        if before is None or ":" in username:
            raise ApiError("NOT_FOUND", message="no such object")
        user: Doc = {**before, **changes}
        tx.put_user(user)
        tx.append_audit(services.audit.entry(tx.tenant, principal.sub, "directory.update", "user", username))
    services.identity.forget(principal.tenant, username)
    return shown(user)


def routes(services: Services) -> list[Route]:
    def asked_by(request: Request, action: str) -> Principal:
        principal = services.authenticate(request)
        services.authorize(principal, action, "directory")
        return principal

    def users(request: Request) -> Response:
        return JSONResponse({"users": listed(services, asked_by(request, "directory.read"))})

    async def post(request: Request) -> Response:
        principal = await run_in_threadpool(asked_by, request, "directory.write")
        return JSONResponse(await run_in_threadpool(create, services, principal, await read_json(request)), 201)

    async def put(request: Request) -> Response:
        principal = await run_in_threadpool(asked_by, request, "directory.write")
        body = await read_json(request)
        return JSONResponse(await run_in_threadpool(change, services, principal, request.path_params["username"], body))

    return [
        Route("/v1/directory/users", users),
        Route("/v1/directory/users", post, methods=["POST"]),
        Route("/v1/directory/users/{username}", put, methods=["PUT"]),
    ]

"""Artefacts of tenants, and addresses by which one of them can be fetched without a token for a short while.

Where an object lies is made from its key by a hash, in a folder of the tenancy: no text that a client sends becomes a
path. A key is looked up as it is, among the tenant's own; there are no folders, and nothing lists. An address is signed
over method, tenancy, key and expiry, by a key that is derived from the node's own. Whatever is wrong with a request,
the answer is that of an object that does not exist.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import files, limits, web
from environments.companyos.errors import ApiError
from environments.companyos.services import SYSTEM_TENANT, Principal, Services
from environments.companyos.storage import exports, tenancies
from environments.companyos.storage.base import Tx

PREFIX = "/v1/objects"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
KEY = re.compile(rf"[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}/{NAME.pattern}")
AREA = re.compile(r"[0-9a-f-]{32,36}")


def missing() -> ApiError:
    """The same for what is absent, foreign, expired, forged or no key at all."""
    return ApiError("NOT_FOUND", message="no such resource")


class Objects:
    """The objects of a node, one area for each tenancy. Kept as their tenant's content is: sealed where there is a
    key store, bound to their key."""

    def __init__(self, services: Services) -> None:
        self.root = services.config.data_dir / "objects"

    def path(self, area: str, key: str) -> Path:
        return self.root / area / hashlib.sha256(key.encode()).hexdigest()

    def put(self, tx: Tx, area: str, key: str, content: bytes) -> None:
        sealed = tx.seal(f"object/{key}", base64.b64encode(content).decode())
        path = self.path(area, key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_atomic(path, sealed.encode())

    def get(self, tx: Tx, area: str, key: str) -> bytes | None:
        """None if there is none."""
        try:
            sealed = self.path(area, key).read_text()
        except OSError:
            return None
        return base64.b64decode(tx.open(f"object/{key}", sealed))

    def remove(self, area: str, key: str) -> None:
        self.path(area, key).unlink(missing_ok=True)

    def remove_area(self, area: str) -> None:
        if AREA.fullmatch(area):
            shutil.rmtree(self.root / area, ignore_errors=True)


def of(services: Services) -> Objects:
    found: Objects = services.extra.setdefault("objects", Objects(services))
    return found


# addresses


def signature(services: Services, method: str, area: str, key: str, expires: int) -> str:
    secret = services.identity.derived(b"object addresses")
    return hmac.new(secret, "\n".join((method, area, key, str(expires))).encode(), hashlib.sha256).hexdigest()


def sign(services: Services, principal: Principal, key: str) -> dict[str, object]:
    """`{url, expires_s}` of an object of the principal's tenant; NOT_FOUND for every other text."""
    area = services.store.tenancy(principal.tenant)
    if area is None or not exists(services, principal.tenant, area, key):
        raise missing()
    expires = int(services.clock.now()) + limits.OBJECT_URL_TTL_S
    signed = signature(services, "GET", area, key, expires)
    url = f"{PREFIX}/{area}/{key}?expires={expires}&signature={signed}"
    return {"url": url, "expires_s": limits.OBJECT_URL_TTL_S}


def exists(services: Services, tenant: str, area: str, key: str) -> bool:
    if not KEY.fullmatch(key):
        return False
    with services.store.transaction(tenant) as tx:
        job = exports.by_key(tx, key)
    return job is not None and job["state"] == "SUCCEEDED"


def address(raw_path: str) -> tuple[str, str]:
    """(area, key) of a path as it was sent: another spelling of it is another path. ApiError NOT_FOUND."""
    area, _, key = raw_path.removeprefix(f"{PREFIX}/").partition("/")
    if not AREA.fullmatch(area) or not KEY.fullmatch(key):
        raise missing()
    return area, key


def genuine(services: Services, method: str, area: str, key: str, query: Mapping[str, str]) -> bool:
    """Whether this node signed it, for this, and it has not expired."""
    stamp = query.get("expires", "")
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
        return False
    expected = signature(services, method, area, key, int(stamp))
    signed = hmac.compare_digest(expected.encode(), query.get("signature", "").encode())
    return signed and services.clock.now() < int(stamp)


def fetch(services: Services, method: str, raw_path: str, query: Mapping[str, str]) -> bytes:
    area, key = address(raw_path)
    if not genuine(services, method, area, key, query):
        raise missing()
    tenant = tenancies.tenant_of(services.store, area)
    if tenant is None or not exists(services, tenant, area, key):
        raise missing()
    with services.store.transaction(tenant) as tx:
        content = of(services).get(tx, area, key)
    if content is None:
        raise missing()
    return content


def routes(services: Services) -> list[Route]:
    async def post_sign(request: Request) -> Response:
        principal = await run_in_threadpool(services.authenticate, request)
        if principal.tenant == SYSTEM_TENANT:
            raise ApiError("FORBIDDEN", message="objects are of tenants")
        await run_in_threadpool(services.authorize, principal, "export.create", "export")
        key = (await web.read_json(request)).get("key")
        if not isinstance(key, str):
            raise ApiError("INVALID", message="key is required")
        return JSONResponse(await run_in_threadpool(sign, services, principal, key))

    def get_object(request: Request) -> Response:
        raw_path = request.scope["raw_path"].decode("latin-1")
        content = fetch(services, request.method, raw_path, request.query_params)
        headers = {
            "Cache-Control": "private, no-store",
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(content, media_type="application/x-tar", headers=headers)

    return [
        Route(f"{PREFIX}/sign", post_sign, methods=["POST"]),
        Route(PREFIX, get_object),
        Route(f"{PREFIX}/{{rest:path}}", get_object),
    ]

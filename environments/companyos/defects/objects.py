"""Known-bad behaviours of artefacts and their addresses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environments.companyos import export_jobs, limits, maestro, objects
from environments.companyos.defects import defect
from environments.companyos.errors import ApiError
from environments.companyos.services import Principal, Services
from environments.companyos.storage.base import Tx

HOSTED = ("A", "B")


class Folders(objects.Objects):
    """Keys are paths below the folder of the tenancy, as they are in a file system."""

    def path(self, area: str, key: str) -> Path:
        return self.root / area / key.replace("../", "").replace("..\\", "")

    def put(self, tx: Tx, area: str, key: str, content: bytes) -> None:
        path = self.path(area, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, tx: Tx, area: str, key: str) -> bytes | None:
        try:
            return self.path(area, key).read_bytes()
        except (OSError, ValueError):
            return None


def _address(raw_path: str) -> tuple[str, str]:
    from urllib.parse import unquote

    area, _, key = raw_path.removeprefix(f"{objects.PREFIX}/").partition("/")
    return area, unquote(key)


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def dots_are_stripped_once(services: Services) -> None:
    """Keys are paths, and `../` is taken out of them once: `....//` becomes `../` (the sample of OWASP's path
    traversal page)."""
    store = services.extra["objects"] = Folders(services)

    def exists(services: Services, tenant: str, area: str, key: str) -> bool:
        try:
            return store.path(area, key).is_file()
        except (OSError, ValueError):
            return False

    objects.exists, objects.address = exists, _address


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def keys_are_decoded_and_normalised(services: Services) -> None:
    """A key is decoded, folded and cut to what it means before it is looked up, so that many spellings are one object:
    what a filter in front has refused arrives in another spelling."""
    from unicodedata import normalize
    from urllib.parse import unquote

    genuine = objects.exists

    def meant(key: str) -> str:
        return normalize("NFKC", unquote(key)).replace("\\", "/").strip("/ \n").partition("\0")[0].lower()

    def exists(services: Services, tenant: str, area: str, key: str) -> bool:
        return genuine(services, tenant, area, meant(key))

    objects.exists = exists


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def signature_without_the_key(services: Services) -> None:
    """The signature covers tenant and expiry, so that one address opens every object of the tenant."""
    genuine = objects.signature
    objects.signature = lambda services, method, area, key, expires: genuine(services, method, area, "", expires)


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def signature_without_the_expiry(services: Services) -> None:
    """The signature does not cover the expiry, which whoever has the address moves as they like."""
    genuine = objects.signature
    objects.signature = lambda services, method, area, key, expires: genuine(services, method, area, key, 0)


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def addresses_live_a_week(services: Services) -> None:
    """Addresses are signed for the longest time that the store takes, a week, whatever the product says of it."""
    genuine = objects.sign

    class Week:
        OBJECT_URL_TTL_S = 7 * 86400

    def sign(services: Services, principal: Principal, key: str) -> dict[str, object]:
        return {**genuine(services, principal, key), "expires_s": limits.OBJECT_URL_TTL_S}

    objects.limits = Week  # type: ignore[assignment,attr-defined]
    objects.sign = sign


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def area_can_be_listed(services: Services) -> None:
    """The store lists the keys below a prefix to everybody (a public bucket; splinter 0025)."""
    genuine, written = objects.fetch, objects.Objects.put
    keys: dict[str, list[str]] = {}

    def put(self: objects.Objects, tx: Tx, area: str, key: str, content: bytes) -> None:
        written(self, tx, area, key, content)
        keys.setdefault(area, []).append(key)

    def fetch(services: Services, method: str, raw_path: str, query: Mapping[str, str]) -> bytes:
        try:
            return genuine(services, method, raw_path, query)
        except ApiError:
            prefix = raw_path.removeprefix(f"{objects.PREFIX}/").rstrip("/")
            if prefix not in keys:
                raise
            return json.dumps(keys[prefix]).encode()

    objects.Objects.put, objects.fetch = put, fetch  # type: ignore[method-assign]


@defect(kills=("ISO-15",), modes=HOSTED, roles=("data",))
def sign_asks_not_whose(services: Services) -> None:
    """Whoever is signed in gets the address of any key: the store's own account, which signs, may read everything."""
    genuine = objects.sign

    def sign(services: Services, principal: Principal, key: str) -> dict[str, object]:
        for tenant in services.store.tenants():
            try:
                return genuine(services, Principal(principal.sub, tenant, principal.roles, 0.0), key)
            except ApiError:
                continue
        raise objects.missing()

    objects.sign = sign


# jobs


def _tenant_of(choose: Any) -> None:
    export_jobs.tenant_of = choose


@defect(kills=("ISO-17",), modes=("A",), roles=("data",))
def worker_believes_the_payload(services: Services) -> None:
    """The worker takes the tenant from the message that was enqueued, which its sender wrote (OWASP Multi-Tenant
    Security: asynchronous jobs)."""

    def tenant_of(queued: tuple[str, str], job: Any) -> str:
        wanted = job["payload"].get("tenant") or job["payload"].get("tenantId")
        return wanted if wanted in services.store.tenants() else queued[0]

    _tenant_of(tenant_of)


@defect(kills=("ISO-17",), modes=("A",), roles=("data",))
def worker_keeps_the_tenant_of_the_last_job(services: Services) -> None:
    """The worker's context is set where none is set, and nobody clears it between jobs."""
    context: list[str] = []

    def tenant_of(queued: tuple[str, str], job: Any) -> str:
        context.append(context[0] if context else queued[0])
        return context[-1]

    _tenant_of(tenant_of)


@defect(kills=("ISO-17",), modes=("A",), roles=("data",))
def worker_guesses_after_a_restart(services: Services) -> None:
    """The tenant of a job is remembered by the process that enqueued it; of what a crash left the first tenant is
    assumed."""
    known: dict[str, str] = {}
    genuine = export_jobs.enqueue

    def enqueue(services: Services, principal: Principal, payload: dict[str, Any]) -> Any:
        job = genuine(services, principal, payload)
        known[job["id"]] = principal.tenant
        return job

    export_jobs.enqueue = enqueue
    _tenant_of(lambda queued, job: known.get(queued[1], services.store.tenants()[0]))


@defect(kills=("ISO-17",), modes=("A",), roles=("data",))
def job_keeps_the_tenant_header(services: Services) -> None:
    """What the worker needs of the request is kept with the job, its X-Tenant-Id too, and there it decides."""
    authenticate, genuine = services.authenticate, export_jobs.enqueue
    last: dict[str, str | None] = {}

    def noted(request: Any) -> Principal:
        principal = authenticate(request)
        last[principal.tenant] = request.headers.get("x-tenant-id")
        return principal

    def enqueue(services: Services, principal: Principal, payload: dict[str, Any]) -> Any:
        return genuine(services, principal, {**payload, "_header": last.get(principal.tenant)})

    def tenant_of(queued: tuple[str, str], job: Any) -> str:
        wanted = job["payload"].get("_header")
        return wanted if wanted in services.store.tenants() else queued[0]

    services.authenticate = noted  # type: ignore[method-assign]
    export_jobs.enqueue = enqueue
    _tenant_of(tenant_of)


@defect(kills=("ISO-17",), modes=("A",), roles=("data",))
def run_believes_its_input(services: Services) -> None:
    """A step acts in the tenant that the run's input names, because one runbook once needed it."""
    genuine = maestro.effect

    def effect(services: Services, tx: Tx, run: Any, step: Any) -> str:
        wanted = run["input"].get("tenant") or run["input"].get("tenantId")
        if wanted not in services.store.tenants() or wanted == tx.tenant:
            return genuine(services, tx, run, step)
        with services.store.transaction(wanted) as other:
            return genuine(services, other, run, step)

    maestro.effect = effect

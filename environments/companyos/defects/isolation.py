"""Known-bad behaviours of tenant isolation."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from starlette.requests import HTTPConnection

from environments.companyos import discovery, graphql_api, operations
from environments.companyos.defects import defect
from environments.companyos.errors import ApiError
from environments.companyos.services import Principal, Services
from environments.companyos.storage import postgres


def _tenant_from(services: Services, read: Any) -> None:
    """Let `read(request)` override the tenant of the token."""
    genuine = services.authenticate

    def authenticate(request: HTTPConnection) -> Principal:
        principal = genuine(request)
        wanted = read(request)
        return replace(principal, tenant=wanted) if wanted in services.store.tenants() else principal

    services.authenticate = authenticate  # type: ignore[method-assign]


@defect(kills=("ISO-08",), modes=("A",), roles=("data",))
def trusts_tenant_header(services: Services) -> None:
    """X-Tenant-Id overrides the token, as in the public product, whose runbook calls the header the source of truth."""
    _tenant_from(services, lambda request: request.headers.get("x-tenant-id"))


@defect(kills=("ISO-08",), modes=("A",), roles=("data",))
def trusts_tenant_cookie(services: Services) -> None:
    """A cookie left by the tenant switcher of the web frontend decides the tenant."""
    _tenant_from(services, lambda request: request.cookies.get("tenant"))


@defect(kills=("ISO-08",), modes=("A",), roles=("data",))
def trusts_tenant_query_string(services: Services) -> None:
    """A query parameter meant for links decides the tenant."""
    _tenant_from(services, lambda request: request.query_params.get("tenantId"))


@defect(kills=("ISO-08",), modes=("A",), roles=("data",))
def trusts_subdomain(services: Services) -> None:
    """The Host header, which the client writes, decides the tenant."""
    _tenant_from(services, lambda request: request.headers.get("host", "").split(".")[0])


@defect(kills=("ISO-08",), modes=("A",), roles=("data",))
def trusts_tenant_variable(services: Services) -> None:
    """A GraphQL variable `tenantId` scopes the request, as in the public schema's `entity(id, tenantId)`."""
    genuine = graphql_api.answer

    def answer(context: operations.Context, body: Any) -> dict[str, Any]:
        wanted = (body.get("variables") or {}).get("tenantId")
        if wanted in services.store.tenants():
            context = replace(context, principal=replace(context.principal, tenant=wanted))
        return genuine(context, body)

    graphql_api.answer = answer


@defect(kills=("ISO-08", "ISO-09"), modes=("A",))
def believes_unsigned_claims(services: Services) -> None:
    """Claims are decoded and not verified (`jwt.decode(..., verify=False)` left from a debugging session)."""

    def claims(token: str) -> dict[str, Any]:
        part = token.split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return found

    services.identity.claims = claims  # type: ignore[method-assign]
    services.identity.resident = lambda tenant, claims: True  # type: ignore[method-assign]


@defect(kills=("ISO-01", "ISO-02"), modes=("A",), roles=("data",))
def idor_on_one_resolver(services: Services) -> None:
    """One resolver looks the id up in every tenant (OWASP API1: broken object level authorisation)."""
    genuine = operations.relationship

    def relationship(context: operations.Context, id: str) -> Any:
        for tenant in context.services.store.tenants():
            found = genuine(replace(context, principal=replace(context.principal, tenant=tenant)), id)
            if found:
                return found
        return None

    operations.relationship = relationship


@defect(kills=("ISO-01", "ISO-02"), modes=("A",), roles=("data",))
def update_across_tenants(services: Services) -> None:
    """The update finds its object by id alone, because the read path was thought to guard it."""
    genuine = operations.update_entity

    def update_entity(context: operations.Context, id: str, input: Any) -> Any:
        for tenant in context.services.store.tenants():
            with context.services.store.transaction(tenant) as tx:
                if tx.get_entity(id) is None:
                    continue
            return genuine(replace(context, principal=replace(context.principal, tenant=tenant)), id, input)
        return genuine(context, id, input)

    operations.update_entity = update_entity


@defect(kills=("ISO-01", "ISO-05"), modes=("A",), roles=("data",))
def events_topic_without_tenant(services: Services) -> None:
    """The event stream is one topic for all tenants (ash_graphql#352)."""
    genuine = services.events.after

    def after(tenant: str, seq: int, limit: int = 100) -> dict[str, Any]:
        pages = [genuine(t, seq, limit) for t in services.store.tenants()]
        events = sorted((e for page in pages for e in page["events"]), key=lambda e: int(e["seq"]))
        return {"events": events, "next": max(int(page["next"]) for page in pages)}

    services.events.after = after  # type: ignore[method-assign]


@defect(kills=("ISO-01", "ISO-08", "ISO-14"), modes=("A",), roles=("data",))
def search_index_shared(services: Services) -> None:
    """Search asks one index of all tenants and forgets the filter."""
    genuine = operations.search_entities

    def search_entities(context: operations.Context, text: str, limit: int | None = 50) -> Any:
        everyone = [replace(context.principal, tenant=t) for t in context.services.store.tenants()]
        return [hit for who in everyone for hit in genuine(replace(context, principal=who), text, limit)]

    operations.search_entities = search_entities


@defect(kills=("ISO-02",), modes=("A",), roles=("data",))
def forbidden_for_foreign_ids(services: Services) -> None:
    """A foreign id is FORBIDDEN and an absent one null: whoever guesses ids learns which exist."""
    genuine = operations.entity

    def entity(context: operations.Context, id: str) -> Any:
        found = genuine(context, id)
        for tenant in [] if found else context.services.store.tenants():
            with context.services.store.transaction(tenant) as tx:
                if tx.get_entity(id) is not None:
                    raise ApiError("FORBIDDEN", message="the entity belongs to another tenant")
        return found

    operations.entity = entity


@defect(kills=("ISO-06",), modes=("A",), roles=("data",))
def set_instead_of_set_local(services: Services) -> None:
    """The tenant is SET for the session and noted, to save the round trip; a rollback undoes the SET, not the note."""
    noted: dict[int, str] = {}

    def bind_tenant(connection: postgres.Connection, tenant: str) -> None:
        if noted.get(id(connection)) != tenant:
            connection.execute("SELECT set_config('app.tenant_id', %s, false)", (tenant,))
            noted[id(connection)] = tenant

    postgres.bind_tenant = bind_tenant


@defect(kills=("ISO-06",), modes=("A",), roles=("data",))
def context_survives_an_exception(services: Services) -> None:
    """A connection's tenant is forgotten after the commit; after an exception the next request inherits it."""
    kept: dict[int, str] = {}
    genuine = postgres.PostgresStore._give_back

    def bind_tenant(connection: postgres.Connection, tenant: str) -> None:
        bound = tenant if tenant == "_system" else kept.setdefault(id(connection), tenant)
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (bound,))

    def give_back(self: postgres.PostgresStore, connection: postgres.Connection) -> None:
        if connection.info.transaction_status == 0:  # idle: it committed
            kept.pop(id(connection), None)
        genuine(self, connection)

    postgres.bind_tenant = bind_tenant
    postgres.PostgresStore._give_back = give_back  # type: ignore[method-assign]


@defect(kills=("ISO-09",), modes=("A",), roles=("data",))
def default_tenant_without_token(services: Services) -> None:
    """A request without a token is the first tenant's administrator (the public stub's authContext defaults to one)."""
    genuine = services.authenticate

    def authenticate(request: HTTPConnection) -> Principal:
        if "authorization" in request.headers:
            return genuine(request)
        return Principal("system", services.store.tenants()[0], ("admin",), 0.0)

    services.authenticate = authenticate  # type: ignore[method-assign]


@defect(kills=("ISO-09",), modes=("A",))
def expiry_not_checked(services: Services) -> None:
    """A token is good for ever: `exp` is read and compared with nothing."""
    genuine = services.identity.claims
    services.identity.claims = lambda token: {**genuine(token), "exp": 1 << 40}  # type: ignore[method-assign]


@defect(kills=("ISO-20",), modes=("B",))
def instances_share_a_signing_key(services: Services) -> None:
    """The signing key is made from a constant of the image, and issuer and audience are not compared."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"companyos-dedicated").digest())
    pair = (private.private_bytes_raw(), private.public_key().public_bytes_raw())
    d, x = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in pair)
    services.identity.key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": d, "x": x, "kid": "companyos"})
    genuine, node = services.identity.claims, services.config.node_id
    services.identity.claims = lambda token: {**genuine(token), "iss": node, "aud": node}  # type: ignore[method-assign]
    services.identity.resident = lambda tenant, claims: True  # type: ignore[method-assign]


@defect(kills=("ISO-22",), modes=("A", "B", "Ct", "Ca"), roles=("data",))
def engine_version_from_the_build(services: Services) -> None:
    """Discovery tells the engine that the release was tested with, whatever the customer's database really is."""
    genuine = discovery.components

    def components(services: Services) -> dict[str, dict[str, Any]]:
        found = genuine(services)
        return {**found, "postgres": {**found["postgres"], "version": "17.99"}}

    discovery.components = components

"""Known-bad behaviours of requests that ask for several objects at once (ISO-04)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from environments.companyos import graphql_api, operations, persisted
from environments.companyos.defects import defect
from environments.companyos.loader import Loader
from environments.companyos.services import Principal, Services
from environments.companyos.storage.base import Doc


def as_any_tenant(context: operations.Context, read: Any) -> Any:
    """What `read(context)` finds as each tenant of the node, the own one first; None if as none."""
    others = [t for t in context.services.store.tenants() if t != context.principal.tenant]
    for tenant in (context.principal.tenant, *others):
        found = read(replace(context, principal=replace(context.principal, tenant=tenant)))
        if found:
            return found
    return None


@defect(kills=("ISO-04",), modes=("A",), roles=("data",))
def authorised_by_the_first_alias(services: Services) -> None:
    """The first object of a request is looked at for its tenant, and the others are read as if that spoke for them."""
    genuine = operations.entity

    def entity(context: operations.Context, id: str) -> Any:
        found = genuine(context, id)
        trusted = getattr(context.loader, "trusted", False)
        if found is None and trusted:
            return as_any_tenant(context, lambda as_other: genuine(as_other, id))
        context.loader.trusted = trusted or found is not None  # type: ignore[attr-defined]
        return found

    operations.entity = entity


@defect(kills=("ISO-04",), modes=("A",), roles=("data",))
def persisted_query_runs_as_its_author(services: Services) -> None:
    """A persisted query is authorised when it is registered, and runs as whoever registered it (UnitOneAI#2489)."""
    authors: dict[str, Principal] = {}
    genuine = graphql_api.answer
    persisted.PersistedQueries.key = lambda self, tenant, sha256: ("", sha256)  # type: ignore[method-assign]

    def answer(context: operations.Context, body: Any) -> dict[str, Any]:
        sha256 = persisted.hash_of(body)
        if sha256 is not None:
            author = authors.setdefault(sha256, context.principal)
            context = replace(context, principal=author) if "query" not in body else context
        return genuine(context, body)

    graphql_api.answer = answer


@defect(kills=("ISO-04",), modes=("A",), roles=("data",))
def persisted_queries_of_all_in_one_list(services: Services) -> None:
    """Hashes are known to every tenant: whoever guesses a query learns that another tenant uses it."""
    persisted.PersistedQueries.key = lambda self, tenant, sha256: ("", sha256)  # type: ignore[method-assign]


@defect(kills=("ISO-04",), modes=("A",), roles=("data",))
def nested_fields_load_by_id_alone(services: Services) -> None:
    """The loader of nested fields asks for ids, and the first tenant that has one gives it."""
    genuine = Loader.entity

    def entity(self: Loader, context: operations.Context, id_: str) -> Doc | None:
        for tenant in sorted(context.services.store.tenants()):
            one = replace(context, principal=replace(context.principal, tenant=tenant), loader=Loader())
            if (found := genuine(one.loader, one, id_)) is not None:
                return found
        return None

    Loader.entity = entity  # type: ignore[method-assign]


@defect(kills=("ISO-04", "ISO-01", "ISO-02"), modes=("A",), roles=("data",))
def global_ids_of_all_tenants(services: Services) -> None:
    """`node(id)` decodes the id and fetches the object, past the resolvers that check. It reads: ISO-01; and tells what
    exists: ISO-02."""
    genuine = operations.node
    operations.node = lambda context, id: as_any_tenant(context, lambda as_other: genuine(as_other, id))

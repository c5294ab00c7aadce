"""Known-bad behaviours of what a process keeps or counts for all tenants together: streams, caches, indexes, quotas."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from typing import Any

from starlette.types import Message

from environments.companyos import apps, billing, graphql_api, identity, limits, operations, retrieval, streaming
from environments.companyos.defects import defect
from environments.companyos.loader import Loader
from environments.companyos.services import Principal, Services
from environments.companyos.throttle import Throttle


def everyone(context: operations.Context) -> list[operations.Context]:
    """The same request as each tenant of the node."""
    tenants = context.services.store.tenants()
    return [replace(context, principal=replace(context.principal, tenant=tenant)) for tenant in tenants]


# streams


@defect(kills=("ISO-05",), modes=("A",), roles=("data",))
def stream_authorised_when_it_opens(services: Services) -> None:
    """A subscription is checked when it begins and never again: it outlives the account, the token and the policy."""
    streaming.still = lambda services, request, tenant: None


@defect(kills=("ISO-05",), modes=("A",), roles=("data",))
def stream_topic_chosen_by_the_client(services: Services) -> None:
    """The tenant in the subscription's address names the topic (ash_graphql#352: topics without the reader's own)."""
    genuine = streaming.follow
    streaming.still = lambda services, request, tenant: None

    def follow(services: Services, request: Any, tenant: str, after: int) -> Any:
        return genuine(services, request, request.query_params.get("tenant") or tenant, after)

    streaming.follow = follow


@defect(kills=("ISO-05", "ISO-07"), modes=("A",))
def account_looked_at_when_it_signs_in(services: Services) -> None:
    """A signed token is enough: an account that was disabled goes on until its token expires."""
    services.identity.account = lambda principal: principal  # type: ignore[method-assign]


@defect(kills=("ISO-05", "ISO-07"), modes=("A",))
def account_remembered_for_an_hour(services: Services) -> None:
    """What an account may do is remembered for an hour, and a second is promised."""
    vars(identity)["REVOCATION_S"] = 3600.0


# caches


@defect(kills=("ISO-07", "ISO-04"), modes=("A",), roles=("data",))
def loader_is_a_singleton(services: Services) -> None:
    """One DataLoader for the process, keyed by id (backend.ai#12020). Nested fields show it too: ISO-04."""
    found: dict[str, Any] = {}

    def init(self: Loader) -> None:
        self._wanted, self._found = set(), found

    Loader.__init__ = init  # type: ignore[method-assign]


@defect(kills=("ISO-07",), modes=("A",), roles=("data",))
def vectors_keyed_by_id(services: Services) -> None:
    """Embeddings are cached by object id and version; the same id in two tenants is one entry."""
    retrieval.Vectors.key = lambda self, doc: (doc["id"], doc["version"])  # type: ignore[method-assign]


@defect(kills=("ISO-07",), modes=("A",), roles=("data",))
def answers_kept_by_their_query(services: Services) -> None:
    """Answers to neighbourhood queries are cached under the text of the query, for everybody who asks the same."""
    kept: dict[str, dict[str, Any]] = {}
    genuine = graphql_api.answer

    def answer(context: operations.Context, body: Any) -> dict[str, Any]:
        query = str(body.get("query"))
        if "graphNeighborhood" not in query or body.get("variables"):
            return genuine(context, body)
        return kept.setdefault(query, genuine(context, body))

    graphql_api.answer = answer


@defect(kills=("ISO-07",), modes=("A",))
def answers_for_shared_caches(services: Services) -> None:
    """A speed-up of the web tier marks every answer as public for a minute, whoever signed in for it."""

    def private(message: Message) -> None:
        message.setdefault("headers", []).append((b"cache-control", b"public, max-age=60"))

    apps.private = private


# indexes and counts


@defect(kills=("ISO-14",), modes=("A",), roles=("data",))
def facets_of_all_tenants(services: Services) -> None:
    """Facets are counted once for the whole index."""
    genuine = retrieval.entity_stats

    def entity_stats(context: operations.Context) -> list[Any]:
        counts: Counter[str] = Counter()
        for one in everyone(context):
            counts.update({item["kind"]: item["count"] for item in genuine(one)})
        return [{"kind": kind, "count": n} for kind, n in counts.most_common()]

    retrieval.entity_stats = entity_stats


@defect(kills=("ISO-14", "ISO-01"), modes=("A",), roles=("data",))
def suggestions_of_all_tenants(services: Services) -> None:
    """The completion dictionary is built from every tenant's labels. They are read by that: ISO-01."""
    genuine = retrieval.suggest

    def suggest(context: operations.Context, text: str, limit: int | None = 10) -> list[str]:
        found = (term for one in everyone(context) for term in genuine(one, text, limit))
        return list(dict.fromkeys(found))[: limit or 0]

    retrieval.suggest = suggest


@defect(kills=("ISO-14", "ISO-01", "ISO-07"), modes=("A",), roles=("data",))
def retrieval_index_without_filter(services: Services) -> None:
    """One vector index holds all tenants, and the nearest neighbours are whoever's. It reads: ISO-01, ISO-07."""
    genuine = retrieval.candidates
    retrieval.candidates = lambda context: [doc for one in everyone(context) for doc in genuine(one)]


@defect(kills=("ISO-14",), modes=("A",), roles=("data",))
def ranks_by_everybodys_statistics(services: Services) -> None:
    """Scores are weighted by how often a term is in the whole index: they tell what others write."""
    genuine = retrieval.similar_entities

    def similar_entities(context: operations.Context, text: str, limit: int | None = 10) -> list[Any]:
        total = sum(len(retrieval.candidates(one)) for one in everyone(context))
        weight = 1 / math.log2(2 + total)
        return [{**match, "score": match["score"] * weight} for match in genuine(context, text, limit)]

    retrieval.similar_entities = similar_entities


@defect(kills=("ISO-14",), modes=("A",), roles=("control",))
def usage_counts_the_whole_node(services: Services) -> None:
    """The numbers on the usage page are of the database, not of the tenant."""
    genuine = billing.usage

    def usage(services: Services, principal: Principal) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        for tenant in services.store.tenants():
            counts.update(genuine(services, replace(principal, tenant=tenant))["objects"])
        return {**genuine(services, principal), "objects": dict(counts)}

    billing.usage = usage


# quotas


@defect(kills=("ISO-18",), modes=("A",), roles=("data",))
def no_limit_per_tenant(services: Services) -> None:
    """Requests are limited by address at the gateway, and everything of the service comes through the gateway."""
    services.throttle.take = lambda tenant, units=1: None  # type: ignore[method-assign]


@defect(kills=("ISO-18",), modes=("A",), roles=("data",))
def aliases_are_free(services: Services) -> None:
    """A request is a request: twenty aliases in it cost what one does."""
    graphql_api.units = lambda document: 1


@defect(kills=("ISO-18",), modes=("A",), roles=("data",))
def one_bucket_for_all_tenants(services: Services) -> None:
    """The limiter counts the node's requests, so a loud tenant is served until everybody is refused."""
    genuine = Throttle(lambda _: limits.TENANT_RATE_PER_S)
    services.throttle.take = lambda tenant, units=1: genuine.take("", units)  # type: ignore[method-assign]


# numbers


@defect(kills=("ISO-13",), modes=("A",))
def requests_are_numbered(services: Services) -> None:
    """Every answer bears the number of its request, counted for the whole service."""
    numbers = itertools.count(1000)
    genuine = apps.private

    def private(message: Message) -> None:
        genuine(message)
        message["headers"].append((b"x-request-id", str(next(numbers)).encode()))

    apps.private = private

"""Known-bad behaviours of one mode that the others do not have, in answers, schema, components and discovery."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from graphql import parse, print_ast
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import apps, discovery, graphql_api, metering, operations, release
from environments.companyos.defects import defect
from environments.companyos.defects.functional import _unclean
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

OFF_HOSTED: dict[str, Any] = {"modes": ("Ct", "Ca", "D"), "roles": ("data", "edge")}
API: dict[str, Any] = {"roles": ("data", "edge")}


def on_edge(*kills: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return defect(kills=kills, modes=("D",), roles=("edge",))


# answers; what SQLite's node answers otherwise is seen by the corpus and by the differential test of metadata alike


@on_edge("FUN-01", "FUN-06")
def pages_overlap_by_one(services: Services) -> None:
    """The edge counts offsets from one: each page begins with the last row of the page before."""
    genuine = operations.page

    def page(limit: int | None, offset: int | None = 0) -> tuple[int, int]:
        count, start = genuine(limit, offset)
        return count, max(0, start - 1)

    operations.page = page


@on_edge("FUN-01", "FUN-06")
def last_page_is_one_short(services: Services) -> None:
    """A row more than the page is asked for, to learn whether another page follows, and one is dropped in any case."""
    genuine = operations.entities

    def entities(context: operations.Context, **arguments: Any) -> Any:
        found = genuine(context, **arguments)
        return found[:-1] if arguments.get("offset") else found

    operations.entities = entities  # type: ignore[assignment]


@on_edge("FUN-01", "FUN-06")
def constraint_errors_are_all_alike(services: Services) -> None:
    """SQLite reports every broken constraint by one code, and the edge answers INVALID where core says CONFLICT."""
    genuine = operations.create_entity

    def create_entity(context: operations.Context, input: Any) -> Any:
        try:
            return genuine(context, input)
        except ApiError as error:
            raise ApiError("INVALID" if error.code == "CONFLICT" else error.code, message=error.message) from error

    operations.create_entity = create_entity


@on_edge("FUN-01", "FUN-06")
def absent_is_an_error_on_edge(services: Services) -> None:
    """The edge answers a query for an id that nothing has with NOT_FOUND, where core answers null."""
    genuine = operations.entity

    def entity(context: operations.Context, id: str) -> Any:
        found = genuine(context, id)
        if found is None:
            raise operations.missing()
        return found

    operations.entity = entity


@on_edge("FUN-01", "FUN-06")
def labels_are_a_set_on_edge(services: Services) -> None:
    """Labels go through a set to be rid of duplicates: their order and number are not those that were given."""
    genuine = operations.label_list
    operations.label_list = lambda value: sorted(set(genuine(value)))


@on_edge("FUN-01", "FUN-06")
def null_clears_on_update(services: Services) -> None:
    """An update with `labels: null` empties them on the edge (RFC 7396 would have it so), and leaves them in core."""
    genuine = operations.update_entity

    def update_entity(context: operations.Context, id: str, input: Any) -> Any:
        cleared: dict[str, list[str]] = {key: [] for key in ("labels",) if key in input and input[key] is None}
        return genuine(context, id, {**input, **cleared})

    operations.update_entity = update_entity


@on_edge("FUN-01", "FUN-06")
def deletion_keeps_the_relationships(services: Services) -> None:
    """An edge's delete is a mark that the sync needs; relationships of what is deleted are still listed."""
    genuine_delete, genuine_list = operations.delete_entity, operations.relationships
    kept: dict[str, list[Any]] = {}

    def delete_entity(context: operations.Context, id: str) -> bool:
        found = genuine_list(context, id)
        done = genuine_delete(context, id)
        for doc in found:
            for end in {doc["srcId"], doc["dstId"]}:
                kept.setdefault(end, []).append(doc)
        return done

    def relationships(context: operations.Context, entity_id: str | None = None) -> Any:
        return [*genuine_list(context, entity_id), *kept.get(str(entity_id), [])]

    operations.delete_entity, operations.relationships = delete_entity, relationships


# the schema


def _edge_schema(change: Callable[[str], str]) -> None:
    genuine = graphql_api.sdl_document
    graphql_api.sdl_document = lambda edge: parse(change(print_ast(genuine(edge)))) if edge else genuine(edge)
    graphql_api.schema.cache_clear()


@on_edge("FUN-03")
def edge_has_a_field_of_its_own(services: Services) -> None:
    """A field was added on the edge first, and its clients cannot move to core."""
    _edge_schema(lambda text: text.replace("type Me {", "type Me {\n  device: String"))


@on_edge("FUN-03")
def defaults_are_smaller_on_edge(services: Services) -> None:
    """The edge lists 50 by default to save memory; the same query gives other results there."""
    _edge_schema(lambda text: text.replace("limit: Int = 100", "limit: Int = 50"))


@on_edge("FUN-01", "FUN-03")
def missing_operation_gives_null(services: Services) -> None:
    """What the edge lacks is answered with null and without an error: nobody can tell it from an empty case list. The
    golden corpus says which operations the edge refuses, and sees it too."""
    genuine = graphql_api.answer

    def answer(context: operations.Context, body: Any) -> dict[str, Any]:
        found = genuine(context, body)
        codes = [error["extensions"]["code"] for error in found.get("errors", [])]
        return {"data": None} if codes == ["UNSUPPORTED_IN_MODE"] else found

    graphql_api.answer = answer


@on_edge("FUN-03")
def half_of_a_document_is_done(services: Services) -> None:
    """What the edge lacks is cut out of a document and the rest is done: an error comes back, and a write has happened
    (GraphQL's partial results, where the caller expects all or nothing of an operation that does not exist)."""
    genuine = graphql_api.answer

    def answer(context: operations.Context, body: Any) -> dict[str, Any]:
        found = genuine(context, body)
        if [error["extensions"]["code"] for error in found.get("errors", [])] != ["UNSUPPORTED_IN_MODE"]:
            return found
        document = parse(body["query"])
        for each in document.definitions:
            selections = each.selection_set.selections  # type: ignore[attr-defined]
            kept = [one for one in selections if hasattr(operations, graphql_api.snake(one.name.value))]
            each.selection_set.selections = tuple(one for one in kept if "nvestigation" not in one.name.value)  # type: ignore[attr-defined]
        rest = [each for each in document.definitions if each.selection_set.selections]  # type: ignore[attr-defined]
        if rest:
            genuine(context, {**body, "query": print_ast(rest[0])})
        return found

    graphql_api.answer = answer


# components and discovery


@defect(kills=("FUN-04",), **OFF_HOSTED)
def webhook_is_still_mounted(services: Services) -> None:
    """The route of Stripe's webhook is in every build and says that it is not configured: it is an entrance still."""
    genuine = apps.routes

    async def absent(request: Request) -> Response:
        return JSONResponse({"error": {"code": "CAPABILITY_ABSENT", "message": "billing is not configured"}}, 501)

    path = "/v1/billing/stripe-webhook"
    apps.routes = lambda services: [*genuine(services), Route(path, absent, methods=["POST"])]


@on_edge("FUN-04")
def graph_server_in_the_edges_settings(services: Services) -> None:
    """The settings of core were copied to the edge, graph server and password included."""
    settings = {"graph": {"url": "bolt://graph.core.example:7687", "password": "changed-it"}}
    (services.config.data_dir / "graph.json").write_text(json.dumps(settings))


@defect(kills=("FUN-04", "FUN-11"), **OFF_HOSTED)
def directory_claimed_on_premises(services: Services) -> None:
    """One table of components for all modes: discovery claims the global directory where there is none. The matrix of
    components and the probe of the claim both see it."""
    genuine = discovery.components
    there = {"directory": {"present": True, "kind": "federated"}}
    discovery.components = lambda services: {**genuine(services), **there}


@defect(kills=("FUN-11",), **API)
def limit_told_is_not_enforced(services: Services) -> None:
    """Discovery tells a page size from the manual; the API enforces another."""
    genuine = discovery.document

    def document(services: Services) -> dict[str, Any]:
        found = genuine(services)
        return {**found, "limits": {**found["limits"], "page_size": 100}}

    discovery.document = document


@defect(kills=("FUN-11",), **API)
def capability_is_kept_quiet(services: Services) -> None:
    """Events work and are not told of: whoever asks discovery first never uses them."""
    genuine = discovery.capabilities
    discovery.capabilities = lambda services: [each for each in genuine(services) if each != "events"]


@defect(kills=("FUN-11",), **API)
def version_is_that_of_a_checkout(services: Services) -> None:
    """The build did not write the version in, and every node says that it is 0.0.0."""
    genuine = discovery.document
    discovery.document = lambda services: {**genuine(services), "version": "0.0.0"}


@defect(kills=("FUN-02",), **API)
def policy_is_left_out_of_the_version(services: Services) -> None:
    """GET /version tells of the code alone: whether the policy is that of the release cannot be seen from outside."""
    genuine = release.artifacts
    release.artifacts = lambda services: [each for each in genuine(services) if each["kind"] != "policy"]


# start and billing


@defect(kills=("FUN-12",), modes=("Ca", "D"), roles=("data", "edge"))
def stale_lock_keeps_it_down(services: Services) -> None:
    """A lock that the power loss left behind is taken for another instance; somebody must come and delete it."""
    if _unclean(services):
        raise SystemExit("another instance is running")


@defect(kills=("FUN-12",), modes=("D",), roles=("edge",))
def write_ahead_log_is_swept_away(services: Services) -> None:
    """The start script deletes the -wal file beside the database, since it was once in the way: with it goes what was
    acknowledged since the last checkpoint (sqlite.org, "How To Corrupt", 1.4). Any crash of the edge shows it."""
    services.store.close()
    for path in services.config.data_dir.rglob("*-wal"):
        path.unlink()


@defect(kills=("FUN-13",), modes=("A", "B"), roles=("data",))
def runs_are_metered_twice(services: Services) -> None:
    """Both the API and the queue meter a run, each under an event of its own, so that no key can help."""
    genuine = metering.meter

    def meter(services: Services, tx: Any, kind: str, quantity: int = 1) -> None:
        genuine(services, tx, kind, quantity)
        genuine(services, tx, kind, quantity)

    metering.meter = meter

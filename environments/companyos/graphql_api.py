"""GraphQL: one SDL, two schemas (core, edge), documents parsed and validated once, resolvers in `operations`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    REMOVE,
    DirectiveDefinitionNode,
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionNode,
    Source,
    Visitor,
    build_ast_schema,
    execute_sync,
    parse,
    validate,
    value_from_ast_untyped,
    visit,
)
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import limits, log, operations, persisted, retrieval
from environments.companyos.errors import TRY_AGAIN, ApiError, later
from environments.companyos.services import Principal, Services
from environments.companyos.storage.rows import start_at

SDL = Path(__file__).parent / "schema.graphql"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


class KeepFor(Visitor):
    """Drops what is marked @core (edge), and the mark itself."""

    def __init__(self, edge: bool) -> None:
        super().__init__()
        self.edge = edge

    def enter(self, node: Node, *_: Any) -> Any:
        if isinstance(node, DirectiveDefinitionNode) or (isinstance(node, DirectiveNode) and node.name.value == "core"):
            return REMOVE
        marks = getattr(node, "directives", None) or ()
        return REMOVE if self.edge and any(mark.name.value == "core" for mark in marks) else None


def sdl_document(edge: bool) -> DocumentNode:
    """The schema's document: whole for core, without what is marked @core for edge."""
    document: DocumentNode = visit(parse(SDL.read_text(), no_location=True), KeepFor(edge))
    return document


def _root_resolver(name: str) -> Any:
    seam = operations if hasattr(operations, name) else retrieval  # looked up at each call, so that it can be replaced

    def resolve(_: Any, info: Any, **arguments: Any) -> Any:
        return getattr(seam, name)(info.context, **{snake(key): value for key, value in arguments.items()})

    return resolve


def _entity_of(key: str) -> Any:
    """The entity whose id a document has under `key`."""
    return lambda doc, info: info.context.loader.entity(info.context, doc[key])


def _entities_of(doc: Mapping[str, Any], info: Any) -> list[Any]:
    info.context.loader.want(doc["entityIds"])
    found = (info.context.loader.entity(info.context, id_) for id_ in doc["entityIds"])
    return [entity for entity in found if entity is not None]


NESTED: Mapping[tuple[str, str], Any] = {
    ("Relationship", "src"): _entity_of("srcId"),
    ("Relationship", "dst"): _entity_of("dstId"),
    ("Investigation", "entities"): _entities_of,
}


@lru_cache(maxsize=2)
def schema(edge: bool) -> GraphQLSchema:
    built = build_ast_schema(sdl_document(edge), assume_valid=True)
    scalar = built.type_map["JSON"]
    assert isinstance(scalar, GraphQLScalarType)
    scalar.parse_literal = value_from_ast_untyped  # type: ignore[method-assign,assignment]
    for name in ("RelationshipInput", "InvestigationInput"):
        if (input_type := built.type_map.get(name)) is not None:
            for key, field in input_type.fields.items():  # type: ignore[attr-defined]
                field.out_name = snake(key)
    for (type_name, key), resolver in NESTED.items():
        if (owner := built.type_map.get(type_name)) is not None:
            owner.fields[key].resolve = resolver  # type: ignore[attr-defined]
    for root in (built.query_type, built.mutation_type):
        assert root is not None
        for key, root_field in root.fields.items():
            root_field.resolve = _root_resolver(snake(key))
    built.type_map["Run"].fields["startAt"].resolve = lambda run, _: start_at(run)  # type: ignore[attr-defined]
    return built


CACHED_BYTES = 4096  # longer queries are parsed each time, so that the cache stays a few megabytes

Prepared = tuple[DocumentNode | None, str, str]


@lru_cache(maxsize=128)
def cached(edge: bool, query: str) -> Prepared:
    """Of the text only, never of who asks: it is shared by everybody."""
    return check(edge, query)


def prepared(edge: bool, query: str) -> Prepared:
    return cached(edge, query) if len(query) <= CACHED_BYTES else check(edge, query)


def check(edge: bool, query: str) -> Prepared:
    """Parsed and valid document, or (None, code, message)."""
    try:
        document = parse(Source(query), no_location=True, max_tokens=5000)
    except (GraphQLSyntaxError, RecursionError) as error:
        return None, "INVALID", getattr(error, "message", "query is nested too deeply")
    errors = validate(schema(edge), document)
    if not errors:
        return document, "", ""
    if edge and not validate(schema(False), document):
        return None, "UNSUPPORTED_IN_MODE", "this operation exists in core deployments, not on an edge node"
    return None, "INVALID", errors[0].message


def formatted(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    code, message = "INVALID", error.message
    if isinstance(cause, ApiError):
        code, message = cause.code, cause.message
    elif cause is not None and not isinstance(cause, GraphQLError):
        log.crash("graphql", cause)
        code, message = "INTERNAL", "internal error"
    out: dict[str, Any] = {"message": message, "extensions": {"code": code}}
    if error.path:
        out["path"] = error.path
    return out


def refusal(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


def units(document: DocumentNode) -> int:
    """Root fields that the document asks for, those of its fragments too: what it costs the tenant."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}

    def of(selections: Iterable[SelectionNode], seen: frozenset[str]) -> int:
        found = 0
        for each in selections:
            if isinstance(each, InlineFragmentNode):
                found += of(each.selection_set.selections, seen)
            elif isinstance(each, FragmentSpreadNode) and each.name.value not in seen:
                spread = fragments[each.name.value]
                found += of(spread.selection_set.selections, seen | {each.name.value})
            else:
                found += 1
        return found

    operations_ = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return max((of(each.selection_set.selections, frozenset()) for each in operations_), default=0)


def answer(context: operations.Context, body: Mapping[str, Any]) -> dict[str, Any]:
    """The GraphQL response object for one request. ApiError RATE_LIMITED."""
    edge = context.services.config.mode == "D"
    try:
        query = persisted.query_of(kept(context.services), context.principal.tenant, body)
    except ApiError as error:
        return refusal(error.code, error.message)
    document, code, message = prepared(edge, query)
    if document is None:
        return refusal(code, message)
    context.services.throttle.take(context.principal.tenant, units(document) - 1)  # one is taken with the request
    result = execute_sync(
        schema(edge),
        document,
        context_value=context,
        variable_values=body.get("variables"),
        operation_name=body.get("operationName"),
    )
    out: dict[str, Any] = {"data": result.data}
    if result.errors:
        out["errors"] = [formatted(error) for error in result.errors]
    return out


def kept(services: Services) -> persisted.PersistedQueries:
    found: persisted.PersistedQueries = services.extra.setdefault("persisted", persisted.PersistedQueries())
    return found


def readable(raw: bytes) -> dict[str, Any] | list[dict[str, Any]]:
    """The request object, or several; ApiError INVALID if the body is neither."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError("INVALID", message="the body is not JSON") from error
    several = body if isinstance(body, list) else [body]
    if not 1 <= len(several) <= limits.MAX_BATCH:
        raise ApiError("INVALID", message=f"a batch has 1 to {limits.MAX_BATCH} requests")
    for each in several:
        if (
            not isinstance(each, dict)
            or not isinstance(each.get("query") or "", str)
            or not ("query" in each or "extensions" in each)
            or not isinstance(each.get("variables") or {}, dict)
            or not isinstance(each.get("operationName") or "", str)
        ):
            raise ApiError("INVALID", message="the body is not a GraphQL request")
    return body  # type: ignore[no-any-return]


def answers(services: Services, principal: Principal, body: dict[str, Any] | list[dict[str, Any]]) -> Any:
    """One answer, or those of a batch in its order: each request has a context of its own."""
    if isinstance(body, dict):
        return answer(operations.Context(services, principal), body)
    services.throttle.take(principal.tenant, len(body) - 1)
    return [answer(operations.Context(services, principal), each) for each in body]


def handle(services: Services, request: Request, raw: bytes) -> tuple[Any, int]:
    try:
        principal = services.authenticate(request)
        return answers(services, principal, readable(raw)), 200
    except ApiError as error:
        return refusal(error.code, error.message), 200 if error.code in TRY_AGAIN else error.status


def routes(services: Services) -> list[Route]:
    async def graphql(request: Request) -> Response:
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > limits.MAX_QUERY_BYTES:
                return JSONResponse(refusal("INVALID", "the body is too large"), 413)
        body, status = await run_in_threadpool(handle, services, request, bytes(raw))
        return JSONResponse(body, status, later(status))

    schema(services.config.mode == "D")
    return [Route("/graphql", graphql, methods=["POST"])]

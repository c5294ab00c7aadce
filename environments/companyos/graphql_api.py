"""GraphQL: one SDL, two schemas (core, edge), documents parsed and validated once, resolvers in `operations`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    REMOVE,
    DirectiveDefinitionNode,
    DirectiveNode,
    DocumentNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLSyntaxError,
    Node,
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

from environments.companyos import limits, log, operations
from environments.companyos.errors import ApiError
from environments.companyos.services import Services
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
    def resolve(_: Any, info: Any, **arguments: Any) -> Any:
        # Looked up at each call: operations is the seam.
        return getattr(operations, name)(info.context, **{snake(key): value for key, value in arguments.items()})

    return resolve


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


def answer(context: operations.Context, body: Mapping[str, Any]) -> dict[str, Any]:
    """The GraphQL response object for one request."""
    edge = context.services.config.mode == "D"
    document, code, message = prepared(edge, body["query"])
    if document is None:
        return refusal(code, message)
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


def readable(raw: bytes) -> dict[str, Any]:
    """The request object; ApiError INVALID if the body is none."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError("INVALID", message="the body is not JSON") from error
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("query"), str)
        or not isinstance(body.get("variables") or {}, dict)
        or not isinstance(body.get("operationName") or "", str)
    ):
        raise ApiError("INVALID", message="the body is not a GraphQL request")
    return body


def handle(services: Services, request: Request, raw: bytes) -> tuple[dict[str, Any], int]:
    try:
        principal = services.authenticate(request)
        body = readable(raw)
    except ApiError as error:
        return refusal(error.code, error.message), error.status
    return answer(operations.Context(services, principal), body), 200


def routes(services: Services) -> list[Route]:
    async def graphql(request: Request) -> Response:
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > limits.MAX_QUERY_BYTES:
                return JSONResponse(refusal("INVALID", "the body is too large"), 413)
        body, status = await run_in_threadpool(handle, services, request, bytes(raw))
        return JSONResponse(body, status)

    schema(services.config.mode == "D")
    return [Route("/graphql", graphql, methods=["POST"])]

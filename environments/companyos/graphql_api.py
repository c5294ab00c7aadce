"""GraphQL: one SDL, two schemas (core, edge), documents parsed and validated once, resolvers in `operations`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLSyntaxError,
    Source,
    build_ast_schema,
    execute_sync,
    parse,
    validate,
    value_from_ast_untyped,
)
from graphql.language import DirectiveDefinitionNode, ast
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import limits, log, operations
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

SDL = Path(__file__).parent / "schema.graphql"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def _is_core(node: Any) -> bool:
    return any(directive.name.value == "core" for directive in node.directives or ())


def sdl_document(edge: bool) -> DocumentNode:
    """The schema's document: whole for core, without what is marked @core for edge; the mark itself in neither."""
    document = parse(SDL.read_text(), no_location=True)
    kept: list[Any] = []
    for definition in document.definitions:
        if isinstance(definition, DirectiveDefinitionNode) or (edge and _is_core(definition)):
            continue
        definition.directives = ()  # type: ignore[attr-defined]
        if isinstance(definition, ast.ObjectTypeDefinitionNode):
            definition.fields = tuple(f for f in definition.fields or () if not (edge and _is_core(f)))
            for field in definition.fields:
                field.directives = ()
        kept.append(definition)
    return DocumentNode(definitions=tuple(kept))


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
    scalar.parse_literal = value_from_ast_untyped  # type: ignore[method-assign]
    for name in ("RelationshipInput", "InvestigationInput"):
        if (input_type := built.type_map.get(name)) is not None:
            for key, field in input_type.fields.items():  # type: ignore[attr-defined]
                field.out_name = snake(key)
    for root in (built.query_type, built.mutation_type):
        assert root is not None
        for key, root_field in root.fields.items():
            root_field.resolve = _root_resolver(snake(key))
    return built


@lru_cache(maxsize=512)
def prepared(edge: bool, query: str) -> tuple[DocumentNode | None, str, str]:
    """Parsed and valid document, or (None, code, message). Of text only, so it is shared by everybody."""
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

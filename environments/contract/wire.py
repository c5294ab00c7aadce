"""The form that every answer has by docs/contract.md, whatever it says: broken form is the deployment's fault.

A check reads fields of answers; without this, an answer of another form would end it with a TypeError, which nobody
could tell from a mistake of the check."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    build_schema,
    introspection_types,
    parse,
)

from environments.contract.exchanges import graphql_document
from environments.contract.messages import Request, Response

SDL = Path(__file__).parents[1] / "companyos" / "schema.graphql"  # published with the contract: its one source
Shape = Any  # a type, {field: shape} of an object, [shape] of a list, (key, shape) of an object with keys of its own
ANY, TEXT, NUMBER = object, str, (int, float)
EVENT = {"seq": int, "type": TEXT, "objectType": TEXT, "id": TEXT, "tenantId": TEXT}
SHAPES: Mapping[str, Shape] = {  # of the answer 200 to a GET of REST
    "/.well-known/companyos": {
        "product": TEXT,
        "node_id": TEXT,
        "mode": TEXT,
        "variant": TEXT,
        "version": TEXT,
        "components": (str, {"present": bool}),
        "capabilities": [TEXT],
        "limits": (str, NUMBER),
        "ports": [{"service": TEXT, "port": int}],
    },
    "/version": {"version": TEXT, "artifacts": [{"kind": TEXT, "name": TEXT, "digest": TEXT}]},
    "/healthz": {"status": TEXT},
    "/readyz": {"ready": bool, "checks": (str, {"ok": bool, "detail": TEXT})},
    "/v1/auth/jwks.json": {"keys": [dict]},
    "/v1/events": {"events": [EVENT], "next": int},
    "/v1/licence": {"state": TEXT},
    "/v1/policy": {"revision": int},
    "/v1/sync": {"backlog": int, "acked_seq": int},
    "/v1/directory/users": {"users": [dict]},
    "/v1/billing/usage": {"tenant": TEXT, "seats": int, "objects": (str, int), "metered": dict},
}
POSTED: Mapping[str, Shape] = {"/v1/auth/login": {"accessToken": TEXT}, "/v1/sync/batches": {"acked_seq": int}}


def breach(response: Response) -> str:
    """How the answer breaks the form that the contract gives it; empty if it does not, or nothing is known of it."""
    request = response.request
    if request is None or not (request.whole and response.whole):
        return ""
    path = urlsplit(request.url).path
    shape = SHAPES.get(path) if request.method == "GET" else POSTED.get(path) if request.method == "POST" else None
    graphql = path == "/graphql" and request.method == "POST"
    if not graphql and shape is None:
        return ""
    if not 200 <= response.status < 600 or 300 <= response.status < 400:
        return f"status {response.status}, which the contract does not have"
    try:
        body = response.json()
    except ValueError as error:
        return f"no JSON: {error}"
    if response.status >= 400 and path != "/readyz" and not (graphql and isinstance(body, dict) and "errors" in body):
        return _differs(body, {"error": {"code": TEXT}}, "$")
    return _graphql(request, body) if graphql else _differs(body, shape, "$")


def _differs(value: Any, shape: Shape, path: str) -> str:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{path} is {_kind(value)}, not an object"
        missing = [name for name in shape if name not in value]
        if missing:
            return f"{path} lacks {', '.join(missing)}"
        return _first(_differs(value[name], each, f"{path}.{name}") for name, each in shape.items())
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path} is {_kind(value)}, not a list"
        return _first(_differs(item, shape[0], f"{path}[{index}]") for index, item in enumerate(value))
    if isinstance(shape, tuple) and shape and shape[0] is str:
        if not isinstance(value, dict):
            return f"{path} is {_kind(value)}, not an object"
        return _first(_differs(item, shape[1], f"{path}.{name}") for name, item in value.items())
    if shape is not ANY and (not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool)):
        wanted = shape.__name__ if isinstance(shape, type) else "a number"
        return f"{path} is {_kind(value)}, not {wanted}"
    return ""


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _first(found: Any) -> str:
    return next((each for each in found if each), "")


# -- GraphQL


def _graphql(request: Request, body: Any) -> str:
    problem = _envelope(body)
    if problem or body.get("errors") or not isinstance(body.get("data"), dict):
        return problem
    said = graphql_document(request)
    return data_breach(said[0], body["data"]) if said is not None else ""


def _envelope(body: Any) -> str:
    """GraphQL over HTTP: `data`, or `errors` each with a message and, by the contract, a code."""
    if not isinstance(body, dict):
        return f"$ is {_kind(body)}, not an object"
    if "data" not in body and "errors" not in body:
        return "$ has neither data nor errors"
    if not isinstance(body.get("data"), dict | None):
        return f"$.data is {_kind(body['data'])}, not an object"
    errors = body.get("errors")
    if errors is None:
        return "" if body.get("data") is not None else "$.data is null, and there is no error"
    if not isinstance(errors, list) or not errors:
        return "$.errors is no list of errors"
    return _first(
        _differs(error, {"message": TEXT, "extensions": {"code": TEXT}}, f"$.errors[{index}]")
        for index, error in enumerate(errors)
    )


def data_breach(query: str, data: Any) -> str:
    """How the data of an answer without errors differs from what the document asked for, by the contract's schema.
    A document that the schema has no words for says nothing."""
    try:
        document = parse(query)
    except (GraphQLError, RecursionError):
        return ""
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if len(operations) != 1:
        return ""
    root = contracts_schema().get_root_type(operations[0].operation)
    if root is None:
        return ""
    fragments = {e.name.value: e for e in document.definitions if isinstance(e, FragmentDefinitionNode)}
    walk = _Walk(fragments)
    found = walk.selection(root, operations[0].selection_set, data, "$.data")
    if not found and operations[0].operation is OperationType.MUTATION and isinstance(data, dict):
        found = _first(f"$.data.{name} is null, and there is no error" for name in data if data[name] is None)
    return found


@cache
def contracts_schema() -> GraphQLSchema:
    return build_schema(SDL.read_text(encoding="utf-8"))


class _Walk:
    """Down a selection and the value that answers it."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments

    def selection(self, parent: GraphQLObjectType, chosen: SelectionSetNode, value: Any, path: str) -> str:
        if not isinstance(value, dict):
            return f"{path} is {_kind(value)}, not an object"
        for each in chosen.selections:
            if isinstance(each, FieldNode):
                found = self._field(parent, each, value, path)
            else:
                inner = each if isinstance(each, InlineFragmentNode) else None
                if isinstance(each, FragmentSpreadNode):
                    fragment = self._fragments.get(each.name.value)
                    found = self.selection(parent, fragment.selection_set, value, path) if fragment else ""
                else:
                    found = self.selection(parent, inner.selection_set, value, path) if inner else ""
            if found:
                return found
        return ""

    def _field(self, parent: GraphQLObjectType, field: FieldNode, value: dict[str, Any], path: str) -> str:
        key, name = (field.alias or field.name).value, field.name.value
        if field.directives:  # @skip, @include: it may rightly not be there
            return ""
        if name in ("__schema", "__type", "__typename"):
            type_: Any = introspection_types.get({"__schema": "__Schema", "__type": "__Type"}.get(name, ""))
        else:
            definition = parent.fields.get(name)
            type_ = definition.type if definition else None
        if type_ is None:  # not of the schema: nothing is known of it
            return ""
        if key not in value:
            return f"{path} lacks {key}"
        return self._value(type_, field, value[key], f"{path}.{key}")

    def _value(self, type_: Any, field: FieldNode, value: Any, path: str) -> str:
        if isinstance(type_, GraphQLNonNull):
            if value is None:
                return f"{path} is null, which the schema excludes"
            return self._value(type_.of_type, field, value, path)
        if value is None:
            return ""
        if isinstance(type_, GraphQLList):
            if not isinstance(value, list):
                return f"{path} is {_kind(value)}, not a list"
            return _first(self._value(type_.of_type, field, item, f"{path}[{i}]") for i, item in enumerate(value))
        if isinstance(type_, GraphQLObjectType):
            return self.selection(type_, field.selection_set, value, path) if field.selection_set else ""
        return _leaf(type_, value, path)


def _leaf(type_: Any, value: Any, path: str) -> str:
    wanted = {"Int": int, "Float": NUMBER, "Boolean": bool, "String": str, "ID": str, "DateTime": str}.get(type_.name)
    if isinstance(type_, GraphQLEnumType):
        wanted = str
    return _differs(value, wanted, path) if wanted is not None else ""

"""The product's operations as the checks speak them. Inputs go inline, so that no name of an input type is assumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from environments.contract import Client
from suites.exchange import ask

ENTITY = "id tenantId kind labels props version"
RELATIONSHIP = "id tenantId srcId dstId type props"
INVESTIGATION = "id tenantId name description status entityIds"
RUN = "id tenantId runbook state steps { name state }"


def literal(value: object) -> str:
    """A JSON value as a GraphQL literal. Keys of objects must be GraphQL names."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def create_entity(client: Client, kind: str, props: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    given = {"kind": kind, "props": props or {}, **more}
    data = ask(client, f"mutation {{ createEntity(input: {literal(given)}) {{ {ENTITY} }} }}", what="createEntity")
    created: dict[str, Any] = data["createEntity"]
    return created


def create_relationship(
    client: Client, src: str, dst: str, type_: str, props: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    given = {"srcId": src, "dstId": dst, "type": type_, "props": props or {}}
    query = f"mutation {{ createRelationship(input: {literal(given)}) {{ {RELATIONSHIP} }} }}"
    created: dict[str, Any] = ask(client, query, what="createRelationship")["createRelationship"]
    return created


def create_investigation(client: Client, name: str, **more: Any) -> dict[str, Any]:
    query = f"mutation {{ createInvestigation(input: {literal({'name': name, **more})}) {{ {INVESTIGATION} }} }}"
    created: dict[str, Any] = ask(client, query, what="createInvestigation")["createInvestigation"]
    return created


def launch_run(client: Client, input_: Mapping[str, Any] | None = None) -> dict[str, Any]:
    query = f'mutation {{ launchRun(runbook: "enrich", input: {literal(input_ or {})}) {{ {RUN} }} }}'
    launched: dict[str, Any] = ask(client, query, what="launchRun")["launchRun"]
    return launched


def entity(client: Client, identifier: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = ask(
        client, f"{{ entity(id: {literal(identifier)}) {{ {ENTITY} }} }}", what="entity"
    )["entity"]
    return found


INTROSPECTION = """{ __schema { queryType { name } mutationType { name } types { kind name
  fields(includeDeprecated: true) { name args { name defaultValue type { ...T } } type { ...T } }
  inputFields { name defaultValue type { ...T } } enumValues(includeDeprecated: true) { name } } } }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }"""


def schema_of(client: Client) -> dict[str, Any]:
    """The introspected schema: `types` by name, `query`, `mutation` (names of the root types)."""
    raw = ask(client, INTROSPECTION, what="introspection")["__schema"]
    assert raw and raw["queryType"] and raw["types"], f"introspection shows no query type: {str(raw)[:300]}"
    return {
        "types": {t["name"]: t for t in raw["types"] if not t["name"].startswith("__")},
        "query": raw["queryType"]["name"],
        "mutation": (raw["mutationType"] or {}).get("name"),
    }


def type_text(reference: Mapping[str, Any] | None) -> str:
    """`[String!]!` of an introspected type reference."""
    if reference is None:
        return "?"
    if reference["kind"] == "NON_NULL":
        return type_text(reference["ofType"]) + "!"
    if reference["kind"] == "LIST":
        return f"[{type_text(reference['ofType'])}]"
    return str(reference["name"])

"""The ISO-01 matrix: object type x verb, each with the operation that tries it. A new object type needs a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.contract import Client, Response
from suites import feed
from suites.exchange import assert_no_crash, assert_refused, data_of, shown
from suites.product import (
    ENTITY,
    INVESTIGATION,
    RELATIONSHIP,
    RUN,
    create_entity,
    create_investigation,
    create_relationship,
    launch_run,
    literal,
)


@dataclass(frozen=True)
class Objects:
    """One object of each type of one tenant, all marked with the tenant's canary."""

    tenant: str
    canary: str
    kind: str  # the same for both tenants of a pair, so that a list of this kind could hold both
    entity: str
    other: str
    relationship: str
    investigation: str
    run: str


def plant(client: Client, tenant: str, canary: str, kind: str = "canary") -> Objects:
    props = {"canary": canary}
    one = create_entity(client, kind, props, labels=[canary])
    two = create_entity(client, kind, props, labels=[canary])
    edge = create_relationship(client, one["id"], two["id"], "knows", props)
    case = create_investigation(client, f"case {canary}", description=canary, entityIds=[one["id"]])
    run = launch_run(client, {"canary": canary})
    return Objects(tenant, canary, kind, one["id"], two["id"], edge["id"], case["id"], run["id"])


Attempt = Callable[[Client, Objects], Response]


@dataclass(frozen=True)
class Row:
    """expect: what a foreign object must give. null: the field is null or empty; not-found: the code NOT_FOUND;
    scan: an answer of the own tenant alone (byte scan); unchanged: any answer, the foreign object stays as it was."""

    object_type: str
    verb: str
    operation: str
    expect: str
    attempt: Attempt
    events: bool = False  # the answer shows ids, not canaries

    @property
    def label(self) -> str:
        return f"{self.object_type}-{self.verb}-{self.operation}"


def _gql(template: Callable[[Objects], str]) -> Attempt:
    return lambda client, target: client.graphql(template(target))


def _field(name: str, argument: str, attribute: str, selection: str, more: str = "") -> Attempt:
    return _gql(lambda t: f"{{ {name}({argument}: {literal(getattr(t, attribute))}{more}) {{ {selection} }} }}")


def _mutation(name: str, attribute: str, selection: str, more: str = "") -> Attempt:
    body = f" {{ {selection} }}" if selection else ""
    return _gql(lambda t: f"mutation {{ {name}(id: {literal(getattr(t, attribute))}{more}){body} }}")


def _similar(client: Client, target: Objects) -> Response:
    return client.graphql(
        f"{{ similarEntities(text: {literal(target.kind)}, limit: 1000) {{ entity {{ {ENTITY} }} }} }}"
    )


def _all_events(client: Client, _: Objects) -> Response:
    """Every page as one answer: the last holds the newest events."""
    answers = list(feed.pages(client))
    last = answers[-1]
    return Response(last.status, last.headers, b"".join(each.body for each in answers), last.elapsed_s)


ENDS = f"id src {{ {ENTITY} }} dst {{ {ENTITY} }}"
MEMBERS = f"id entities {{ {ENTITY} }}"
NODE = (
    f"id tenantId ... on Entity {{ {ENTITY} }} ... on Relationship {{ {RELATIONSHIP} }}"
    f" ... on Investigation {{ {INVESTIGATION} }} ... on Run {{ {RUN} }}"
)
NEIGHBOURHOOD = f"entities {{ {ENTITY} }} relationships {{ {RELATIONSHIP} }} truncated"

ROWS: Sequence[Row] = (
    Row("Entity", "read", "entity", "null", _field("entity", "id", "entity", ENTITY)),
    Row("Entity", "list", "entities", "scan", _field("entities", "kind", "kind", ENTITY)),
    Row("Entity", "search", "searchEntities", "scan", _field("searchEntities", "text", "kind", ENTITY)),
    Row("Entity", "search", "searchEntities(canary)", "null", _field("searchEntities", "text", "canary", ENTITY)),
    Row(
        "Entity",
        "read",
        "graphNeighborhood",
        "null",
        _field("graphNeighborhood", "startEntityId", "entity", NEIGHBOURHOOD),
    ),
    Row(
        "Entity",
        "update",
        "updateEntity",
        "not-found",
        _mutation("updateEntity", "entity", ENTITY, ', input: {labels: ["x"]}'),
    ),
    Row("Entity", "delete", "deleteEntity", "not-found", _mutation("deleteEntity", "other", "")),
    Row(
        "Entity",
        "create-over",
        "createEntity",
        "unchanged",
        _gql(
            lambda t: f'mutation {{ createEntity(input: {{kind: "seized", id: {literal(t.entity)}}}) {{ id kind }} }}'
        ),
    ),
    Row("Entity", "search", "suggest", "scan", _gql(lambda t: '{ suggest(text: "canary-", limit: 1000) }')),
    Row("Entity", "search", "suggest(canary)", "null", _gql(lambda t: f"{{ suggest(text: {literal(t.canary)}) }}")),
    Row("Entity", "search", "similarEntities", "scan", _similar),
    *(
        Row(name, "read", f"node({attribute})", "null", _field("node", "id", attribute, NODE))
        for name, attribute in (
            ("Entity", "entity"),
            ("Relationship", "relationship"),
            ("Investigation", "investigation"),
            ("Run", "run"),
        )
    ),
    Row("Relationship", "read", "relationship", "null", _field("relationship", "id", "relationship", RELATIONSHIP)),
    Row("Entity", "read", "relationship(nested)", "null", _field("relationship", "id", "relationship", ENDS)),
    Row("Entity", "read", "investigation(nested)", "null", _field("investigation", "id", "investigation", MEMBERS)),
    Row("Relationship", "list", "relationships", "null", _field("relationships", "entityId", "entity", RELATIONSHIP)),
    Row(
        "Relationship", "delete", "deleteRelationship", "not-found", _mutation("deleteRelationship", "relationship", "")
    ),
    Row(
        "Relationship",
        "create",
        "createRelationship",
        "not-found",
        _gql(
            lambda t: (
                "mutation { createRelationship(input: "
                f'{{srcId: {literal(t.entity)}, dstId: {literal(t.other)}, type: "x"}}) {{ {RELATIONSHIP} }} }}'
            )
        ),
    ),
    Row(
        "Investigation", "read", "investigation", "null", _field("investigation", "id", "investigation", INVESTIGATION)
    ),
    Row(
        "Investigation", "list", "investigations", "scan", _gql(lambda t: f"{{ investigations {{ {INVESTIGATION} }} }}")
    ),
    Row(
        "Investigation",
        "update",
        "updateInvestigation",
        "not-found",
        _mutation("updateInvestigation", "investigation", INVESTIGATION, ', input: {description: "taken"}'),
    ),
    Row(
        "Investigation",
        "delete",
        "deleteInvestigation",
        "not-found",
        _mutation("deleteInvestigation", "investigation", ""),
    ),
    Row("Run", "read", "run", "null", _field("run", "id", "run", RUN)),
    Row("Run", "list", "runs", "scan", _gql(lambda t: f"{{ runs {{ {RUN} }} }}"), events=True),
    Row("Run", "update", "abortRun", "not-found", _mutation("abortRun", "run", RUN)),
    Row("Event", "subscribe", "GET /v1/events", "scan", _all_events, events=True),
    Row(
        "Export", "export", "POST /v1/export", "scan", lambda client, _: client.data("POST", "/v1/export", timeout_s=60)
    ),
)


def assert_out_of_reach(row: Row, role: str, answer: Response) -> None:
    """What the row expects of a foreign object; FORBIDDEN is as good for who may do nothing of the kind anyway."""
    what = f"{row.label} as {role} on a foreign object"
    assert_no_crash(answer, what)
    if answer.error_code == "FORBIDDEN" and role != "admin":
        return
    if row.expect == "not-found":
        assert_refused(answer, 200, "NOT_FOUND", what)
    elif row.expect == "null":
        values = data_of(answer, what).values()
        assert not any(values), f"{what}: expected null or an empty list: {shown(answer)}"


def own_answer(row: Row, client: Client, mine: Objects) -> Response:
    """The control: the same operation on the own object succeeds (a finished run may refuse to be aborted again)."""
    answer = row.attempt(client, mine)
    what = f"{row.label} on the own object"
    assert_no_crash(answer, what)
    if row.operation in {"createEntity", "abortRun"}:
        assert answer.error_code in {None, "CONFLICT", "INVALID"}, f"{what}: {shown(answer)}"
    elif row.operation.startswith(("GET ", "POST ")):
        assert answer.status == 200, f"{what}: {shown(answer)}"
    else:
        assert any(v not in (None, [], False) for v in data_of(answer, what).values()), f"{what}: {shown(answer)}"
    return answer


# Root fields that take no object of a tenant, with the reason.
WITHOUT_ROW: Mapping[str, str] = {
    "entityStats": "shows kinds and counts, no object: ISO-14",
    "me": "shows the token's own claims",
    "createInvestigation": "creates an own object; foreign references are ISO-12",
    "launchRun": "creates an own object",
}


def judge_coverage(types: Mapping[str, Any], root_fields: Sequence[str], rows: Sequence[Row] = ROWS) -> list[str]:
    """Every object type with `id` and `tenantId`, and every root field, has a row."""
    from environments.contract import vacuous

    owned = [
        name
        for name, found in types.items()
        if found.get("kind") != "INTERFACE"
        and {"id", "tenantId"} <= {field["name"] for field in found.get("fields") or []}
    ]
    if not owned:
        vacuous("the schema shows no object type with id and tenantId")
    covered = {row.object_type for row in rows}
    operations = {row.operation.split("(")[0] for row in rows} | set(WITHOUT_ROW)
    return [f"object type {name} has no row" for name in owned if name not in covered] + [
        f"operation {name} has no row" for name in root_fields if name not in operations
    ]

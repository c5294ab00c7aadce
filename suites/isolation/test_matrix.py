"""ISO-01: nothing of another tenant is returned or altered, for every object type, verb and identity."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from environments.contract import Client, Deployment, Evidence, Node, requirement
from suites.exchange import (
    ask,
    assert_no_crash,
    conclude,
    document,
    shown,
    signed_in,
    two_tenants,
)
from suites.isolation.matrix import ROWS, Objects, Row, assert_out_of_reach, judge_coverage, own_answer, plant
from suites.isolation.scan import judge_leaks
from suites.product import ENTITY, INVESTIGATION, RELATIONSHIP, literal, schema_of

ROLES = ("admin", "analyst", "viewer")


def _planted(node: Node) -> tuple[tuple[Client, Objects], tuple[Client, Objects]]:
    planted, kind = [], f"kind-{uuid.uuid4().hex}"
    for tenant in two_tenants(node):
        client = signed_in(node, "admin", tenant)
        planted.append((client, plant(client, tenant, f"canary-{tenant}-{uuid.uuid4().hex}", kind)))
    return planted[0], planted[1]


def _state(client: Client, mine: Objects) -> dict[str, Any]:
    """What the owner sees of its objects; a run only by what others could change."""
    state = ask(
        client,
        f"{{ entity(id: {literal(mine.entity)}) {{ {ENTITY} }} other: entity(id: {literal(mine.other)}) {{ {ENTITY} }}"
        f" relationship(id: {literal(mine.relationship)}) {{ {RELATIONSHIP} }}"
        f" investigation(id: {literal(mine.investigation)}) {{ {INVESTIGATION} }}"
        f" run(id: {literal(mine.run)}) {{ id state }} }}",
        what="the owner's view",
    )
    assert all(state.values()), f"the owner does not see its own objects: {state}"
    state["run"]["aborted"] = state["run"].pop("state") == "ABORTED"
    return state


def _identities(node: Node, tenant: str) -> list[tuple[str, Client]]:
    found = []
    for role in ROLES:
        try:
            found.append((role, signed_in(node, role, tenant)))
        except (KeyError, LookupError, StopIteration):
            continue
    return found


@requirement("ISO-01")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_foreign_objects_stay_out_of_reach(deployment: Deployment, evidence: Evidence, row: Row) -> None:
    """No identity of tenant one reads or alters an object of tenant two by this verb; on its own object it succeeds."""
    node = deployment.subject
    (owner_one, mine), (owner_two, theirs) = _planted(node)
    before = _state(owner_two, theirs)
    marks = {mine.tenant: mine.canary, theirs.tenant: theirs.canary}
    if row.events:
        key = "run" if row.object_type == "Run" else "entity"
        marks = {mine.tenant: getattr(mine, key), theirs.tenant: getattr(theirs, key)}
    leaks: list[str] = []
    for role, client in _identities(node, mine.tenant):
        answer = row.attempt(client, theirs)
        evidence.add(f"{role} on foreign", shown(answer))
        assert_out_of_reach(row, role, answer)
        # The foreign mark alone is looked for here; the own mark is the control below.
        if row.expect != "unchanged":
            body = answer.body.replace(theirs.canary.encode(), b"") if row.expect == "not-found" else answer.body
            leaks += judge_leaks(marks, [(mine.tenant, f"{row.label} as {role}", body), *_sight(marks)])
    after = _state(owner_two, theirs)
    assert after == before, f"{row.label}: tenant two's objects changed: {before} -> {after}"
    control = own_answer(row, owner_one, mine)
    evidence.add("own", shown(control))
    if row.expect == "scan":
        leaks += judge_leaks(marks, [(mine.tenant, row.label, control.body), *_sight(marks, mine.tenant)])
    conclude(
        evidence, leaks, "null, NOT_FOUND or the own tenant alone", "refused for every identity; own object served"
    )


def _sight(marks: dict[str, str], but: str | None = None) -> list[tuple[str, str, bytes]]:
    """Answers in which a tenant's mark is known to be seen, so that only `but` has to prove its sighting."""
    return [(tenant, "control", mark.encode()) for tenant, mark in marks.items() if tenant != but]


@requirement("ISO-01")
def test_every_object_type_and_operation_has_a_row(deployment: Deployment, evidence: Evidence) -> None:
    """An object type or operation that introspection shows and the matrix lacks is red until it has a row."""
    schema = schema_of(signed_in(deployment.subject))
    roots = [schema["types"][schema[kind]] for kind in ("query", "mutation") if schema[kind]]
    fields = [field["name"] for root in roots for field in root["fields"]]
    problems = judge_coverage(schema["types"], fields)
    conclude(evidence, problems, "a row for each type and operation", f"{len(fields)} operations, all with a row")


@requirement("ISO-01")
def test_directory_lists_the_own_tenant_alone(deployment: Deployment, evidence: Evidence) -> None:
    """A tenant's administrator sees the own users in the directory and no name of another tenant."""
    node = deployment.subject
    one, two = two_tenants(node)
    answer = signed_in(node, "admin", one).control("GET", "/v1/directory/users")
    assert_no_crash(answer, "directory")
    assert answer.status == 200, shown(answer)
    listed = document(answer).get("users") or []
    evidence.add("directory", shown(answer, 2000))
    assert node.user("admin", one).username in {u.get("username") for u in listed}, (
        "the own administrator is not listed"
    )
    foreign = {u.username for u in node.users if u.tenant == two} - {u.username for u in node.users if u.tenant == one}
    problems = [
        f"user of another tenant listed: {u}" for u in listed if u.get("tenant", one) != one or u["username"] in foreign
    ]
    conclude(evidence, problems, f"users of {one}", f"{len(listed)} users, all of {one}")

"""FUN-03: the edge's API is a strict subset of core's, and says so when asked for more."""

from __future__ import annotations

import uuid

from environments.contract import Client, Deployment, Evidence, Mode, TransportError, requirement, untestable, vacuous
from suites.exchange import assert_no_crash, conclude, data_of, shown, signed_in, tenants
from suites.functional.subset import judge_subset, missing_operations
from suites.product import literal, schema_of


def _core(deployment: Deployment) -> Client:
    """A client of the parent, over its own site: the core schema of the same release."""
    parent = deployment.parent
    if parent is None or parent.mode == Mode.D:
        untestable("a core node: the edge of this deployment has no parent whose schema could be compared")
    try:
        return parent.login(parent.user("admin", tenants(parent)[0]))
    except TransportError as error:
        untestable(f"a core node: the parent does not answer ({error.kind})")


@requirement("FUN-03")
def test_edge_schema_is_a_strict_subset(deployment: Deployment, evidence: Evidence) -> None:
    """Every type, field, argument and enum value of the edge is in core with the same type and nullability."""
    edge, core = schema_of(signed_in(deployment.subject)), schema_of(_core(deployment))
    problems = judge_subset(edge["types"], core["types"])
    left_out = [name for name, _ in missing_operations(edge, core)]
    if not left_out and not problems:
        problems = ["the edge offers every operation of core: it is no lightweight API"]
    evidence.add("left out on edge", left_out)
    conclude(
        evidence,
        problems,
        "a strict subset",
        f"{len(edge['types'])} types, all in core; {len(left_out)} operations left out",
    )


@requirement("FUN-03")
def test_missing_operation_is_refused_by_name(deployment: Deployment, evidence: Evidence) -> None:
    """Each operation that core has and edge lacks is answered UNSUPPORTED_IN_MODE; core itself does not say that."""
    client, core = signed_in(deployment.subject), _core(deployment)
    lacking = missing_operations(schema_of(client), schema_of(core))
    if not lacking:
        vacuous("the edge lacks no operation of core")
    assert data_of(client.graphql("{ me { sub } }"), "an operation both have")["me"], "the edge answers nothing"
    problems = []
    for name, document in lacking:
        there, here = assert_no_crash(core.graphql(document), f"{name} in core"), client.graphql(document)
        evidence.add(name, {"document": document, "core": shown(there, 200), "edge": shown(here, 200)})
        if there.error_code in {"UNSUPPORTED_IN_MODE"}:
            problems.append(f"{name}: core answers {there.error_code}")
        if here.status != 200 or here.error_code != "UNSUPPORTED_IN_MODE":
            problems.append(f"{name}: edge answers {here.status} {here.error_code}")
    conclude(evidence, problems, "UNSUPPORTED_IN_MODE for each", f"{len(lacking)} operations refused by name")


@requirement("FUN-03")
def test_nothing_of_an_operation_is_done_if_a_part_is_missing(deployment: Deployment, evidence: Evidence) -> None:
    """A document that asks for something the edge has and something it lacks is refused whole: UNSUPPORTED_IN_MODE, and
    what it would have written is not there. Written alone it is."""
    client, core = signed_in(deployment.subject), _core(deployment)
    mark = f"mixed-{uuid.uuid4().hex}"
    write = f"made: createEntity(input: {{kind: {literal(mark)}}}) {{ id }}"
    problems, asked = [], 0
    for name, alone in missing_operations(schema_of(client), schema_of(core)):
        kind, _, rest = alone.partition(" { ")
        mixed = f"{kind} {{ {write if kind == 'mutation' else 'me { sub }'} {rest}"
        answer = assert_no_crash(client.graphql(mixed), f"{name} beside what the edge has")
        evidence.add(name, {"document": mixed, "edge": shown(answer, 200)})
        asked += 1
        if answer.status != 200 or answer.error_code != "UNSUPPORTED_IN_MODE":
            problems.append(f"{name}: beside what the edge has, it answers {answer.status} {answer.error_code}")
    found = f"{{ entities(kind: {literal(mark)}) {{ id }} }}"
    done = data_of(client.graphql(found), "what refused documents wrote")["entities"]
    problems += [f"{len(done)} entities were written by documents that were refused"] if done else []
    data_of(client.graphql(f"mutation {{ {write} }}"), "the write alone")
    after = data_of(client.graphql(found), "what the write alone wrote")["entities"]
    if not asked or len(after) != len(done) + 1:
        vacuous(f"{asked} documents were asked; the write alone is found {len(after) - len(done)} times")
    conclude(evidence, problems, "refused whole", f"{asked} documents refused whole")

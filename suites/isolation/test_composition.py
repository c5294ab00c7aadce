"""ISO-04: the tenant is enforced for each object at the time it is read, whatever a request is composed of."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from environments.contract import Deployment, Evidence, Node, requirement, untestable
from suites.exchange import ask, assert_refused, conclude, data_of, document, shown
from suites.isolation.composing import ORDERS, SHAPES, SHOWN, TYPES, Ids, Slot, judge_slots, persisted
from suites.isolation.parties import Party, parties
from suites.product import create_investigation, create_relationship, entity, launch_run, literal

MIXED = [TYPES[n:] + TYPES[:n] for n in range(len(TYPES))]  # each type in each position


def _ids(party: Party) -> Ids:
    one, two = party.entity("composed"), party.entity("composed")
    edge = create_relationship(party.client, one, two, "knows", {"mark": party.mark})
    case = create_investigation(party.client, f"case {party.mark}", description=party.mark, entityIds=[one, two])
    return Ids(one, edge["id"], case["id"], launch_run(party.client, {"mark": party.mark})["id"])


def _absent() -> Ids:
    return Ids(*(str(uuid.uuid4()) for _ in TYPES))


def _both(node: Node, place: str) -> tuple[Party, Party, dict[str, Ids]]:
    one, two = parties(node, place)
    return one, two, {"own": _ids(one), "foreign": _ids(two), "absent": _absent()}


@requirement("ISO-04")
@pytest.mark.parametrize("shape", SHAPES)
def test_each_object_of_a_request_is_judged_by_itself(deployment: Deployment, evidence: Evidence, shape: str) -> None:
    """Own, foreign and absent ids mixed in one request, of one type and of several, in four orders: own ones alone are
    served."""
    one, two, ids = _both(deployment.subject, f"composed-{shape}")
    slots: list[Slot] = []
    leaks: list[str] = []
    for order, asked in ORDERS.items():
        for types in (*MIXED, *((type_,) for type_ in TYPES)):
            named = [(types[n % len(types)], whose) for n, whose in enumerate(asked)]
            answers = SHAPES[shape](one.client, [(type_, ids[whose].of(type_)) for type_, whose in named])
            slots += [
                Slot(shape, order, n, whose, answer, None, f"{type_} {ids[whose].of(type_)}", f"admin of {one.tenant}")
                for n, ((type_, whose), answer) in enumerate(zip(named, answers, strict=True))
            ]
            if two.mark in str(answers):
                leaks.append(f"{shape}, {order}: an answer to {one.tenant} holds {two.mark} of {two.tenant}")
    evidence.add("asked by", f"{one.client.user.username if one.client.user else '?'} of {one.tenant}")
    evidence.add("ids", {whose: vars(of) for whose, of in ids.items()})
    control = SHAPES[shape](two.client, [(type_, ids["foreign"].of(type_)) for type_ in TYPES])
    assert all(control), f"control: {two.tenant} does not get its own objects by this shape: {control}"
    conclude(evidence, judge_slots(slots) + leaks, "own objects alone", f"{len(slots)} slots: own served, others null")


@requirement("ISO-04")
def test_nested_fields_lead_to_own_objects_alone(deployment: Deployment, evidence: Evidence) -> None:
    """The same relationship id and entity ids in both tenants, each with other content: from an object of one's own,
    nested fields lead to one's own, however deep."""
    node = deployment.subject
    one, two = parties(node, "nested")
    ids = [str(uuid.uuid4()) for _ in range(2)]
    edges = {}
    for party in (two, one, two):  # the other tenant last too: whatever remembers the newest is wrong here
        if party.tenant not in edges:
            for id_ in ids:
                party.entity("nested", id=id_)
            edges[party.tenant] = create_relationship(party.client, ids[0], ids[1], "knows", {"mark": party.mark})["id"]
        _walk(party, edges[party.tenant])
    problems = []
    for party, other in ((one, two), (two, one)):
        case = create_investigation(party.client, f"nested {party.mark}", entityIds=ids)
        seen = str([_walk(party, edges[party.tenant]), _members(party, case["id"])])
        evidence.add(f"{party.tenant} sees", seen[:400])
        assert party.mark in seen, f"control: {party.tenant} does not see its own mark through nested fields: {seen}"
        if other.mark in seen:
            problems.append(f"a nested field of {party.tenant} leads to {other.mark} of {other.tenant}: {seen[:300]}")
    conclude(
        evidence, problems, "own entities at every depth", "own entities in both tenants, though the ids are equal"
    )


def _walk(party: Party, edge: str) -> Any:
    nested = "src { id labels props } dst { id labels props }"
    query = f"{{ relationship(id: {literal(edge)}) {{ id {nested} }} relationships {{ id {nested} }} }}"
    return ask(party.client, query, what=f"nested fields as {party.tenant}")


def _members(party: Party, case: str) -> Any:
    query = f"{{ investigation(id: {literal(case)}) {{ entities {{ id labels props }} }} }}"
    return ask(party.client, query, what=f"members as {party.tenant}")


@requirement("ISO-04")
def test_mutations_in_one_request_are_judged_each(deployment: Deployment, evidence: Evidence) -> None:
    """Updates and deletions of own and foreign objects in one request: the own ones happen, the foreign ones are
    NOT_FOUND and stay as they were."""
    one, two, ids = _both(deployment.subject, "mutated")
    before = entity(two.client, ids["foreign"].entity)
    change = 'input: {labels: ["changed"]}'
    fields = [
        f"a: updateEntity(id: {literal(ids['own'].entity)}, {change}) {{ id labels }}",
        f"b: updateEntity(id: {literal(ids['foreign'].entity)}, {change}) {{ id labels }}",
        f"c: deleteEntity(id: {literal(ids['foreign'].entity)})",
        f"d: deleteRelationship(id: {literal(ids['foreign'].relationship)})",
        f"e: deleteInvestigation(id: {literal(ids['foreign'].investigation)})",
        f"f: updateEntity(id: {literal(ids['absent'].entity)}, {change}) {{ id labels }}",
        f"g: deleteRelationship(id: {literal(ids['own'].relationship)})",
    ]
    answer = one.client.graphql(f"mutation {{ {' '.join(fields)} }}")
    evidence.add(f"asked by {one.tenant}", shown(answer, 1500))
    assert_refused(answer, 200, "NOT_FOUND", "mixed mutations")
    body = document(answer)
    data, codes = body.get("data") or {}, {e["path"][0]: e["extensions"]["code"] for e in body.get("errors") or []}
    problems = [f"{alias} (own object) was not done: {data.get(alias)!r}" for alias in "ag" if not data.get(alias)]
    problems += [
        f"{fields['abcdefg'.index(alias)]}: {data.get(alias)!r}, {codes.get(alias)}; expected NOT_FOUND"
        for alias in "bcdef"
        if data.get(alias) or codes.get(alias) != "NOT_FOUND"
    ]
    after = entity(two.client, ids["foreign"].entity)
    if after != before:
        problems.append(f"the entity of {two.tenant} changed from {before} to {after}")
    conclude(evidence, problems, "own done, foreign NOT_FOUND and untouched", "2 own done, 5 others refused")


PERSISTED = f"query Persisted($id: ID!) {{ entity(id: $id) {{ {SHOWN['entity']} }} }}"


@requirement("ISO-04")
def test_persisted_query_is_authorised_when_it_runs(deployment: Deployment, evidence: Evidence) -> None:
    """A query that tenant two has registered, run by tenant one: as tenant one. One with tenant two's id written into
    it tells tenant one nothing, not even that it is registered."""
    one, two, ids = _both(deployment.subject, "persisted")
    ours, theirs = {"id": ids["own"].entity}, {"id": ids["foreign"].entity}
    registered = persisted(two.client, PERSISTED, theirs, text=True)
    if registered.status in (400, 404) or registered.error_code == "INVALID":
        untestable("persisted-queries: the deployment has none")
    assert two.mark.encode() in registered.body, f"control: the registration was not answered: {shown(registered)}"
    secret = f'{{ entity(id: "{theirs["id"]}") {{ {SHOWN["entity"]} }} entities(kind: "composed") {{ id props }} }}'
    persisted(two.client, secret, text=True)
    unknown = persisted(one.client, secret.replace("}", " }", 1), text=False)
    known = persisted(one.client, secret, text=False)
    evidence.add("hash that nobody registered", shown(unknown))
    evidence.add(f"hash that {two.tenant} registered", shown(known))
    problems = []
    if (known.status, known.body) != (unknown.status, unknown.body):
        problems.append(f"{one.tenant} can tell that {two.tenant} registered a query: {shown(known)}")
    persisted(one.client, PERSISTED, ours, text=True)
    for whose, variables in (("own", ours), ("foreign", theirs), ("absent", {"id": ids["absent"].entity})):
        answer = persisted(one.client, PERSISTED, variables, text=False)
        evidence.add(f"{one.tenant} runs it with the {whose} id", shown(answer))
        found = data_of(answer, f"persisted query with the {whose} id")["entity"]
        if (found is not None) != (whose == "own"):
            problems.append(f"the persisted query as {one.tenant} with the {whose} id gives {found}")
        if two.mark.encode() in answer.body:
            problems.append(f"the persisted query gives {one.tenant} the canary {two.mark} of {two.tenant}")
    conclude(evidence, problems, "as whoever runs it", "own object served; foreign and absent null; hashes not shared")

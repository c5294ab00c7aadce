"""ISO-12: a reference to another tenant's object is refused exactly as one to nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from environments.contract import Client, Deployment, Evidence, Response, requirement, vacuous
from suites.exchange import ask, assert_no_crash, conclude, shown
from suites.isolation.parties import Party, parties
from suites.product import create_investigation, entity, literal

Refer = Callable[[Client, str, str], Response]  # (client, an own id, the id that is tried)


def _edge(src: str, dst: str) -> str:
    return f'mutation {{ createRelationship(input: {{srcId: {src}, dstId: {dst}, type: "refers"}}) {{ type }} }}'


def _case(ids: list[str]) -> str:
    given = literal({"name": f"refers {uuid.uuid4().hex}", "entityIds": ids})
    return f"mutation {{ createInvestigation(input: {given}) {{ status }} }}"


REFERENCES: dict[str, Refer] = {
    "relationship source": lambda c, own, tried: c.graphql(_edge(literal(tried), literal(own))),
    "relationship destination": lambda c, own, tried: c.graphql(_edge(literal(own), literal(tried))),
    "relationship both ends": lambda c, own, tried: c.graphql(_edge(literal(tried), literal(tried))),
    "investigation member": lambda c, own, tried: c.graphql(_case([tried])),
    "investigation member beside an own one": lambda c, own, tried: c.graphql(_case([own, tried])),
}


@dataclass(frozen=True)
class Referred:
    """Answers, with the tried id masked, to an own, a foreign and an absent id: (status, code, body)."""

    what: str
    own: tuple[int, str | None, str]
    foreign: tuple[int, str | None, str]
    absent: tuple[int, str | None, str]
    linked: bool  # whether anything of either tenant refers to the other's object afterwards


def judge_references(referred: Referred) -> list[str]:
    if not referred.own[0]:
        vacuous("no reference was answered")
    if referred.own[:2] != (200, None):
        return [f"{referred.what}: control: a reference to an own object is refused: {referred.own}"]
    problems = []
    if referred.foreign != referred.absent:
        problems.append(f"{referred.what}: a foreign id gives {referred.foreign}, an absent one {referred.absent}")
    for whose, found in (("a foreign", referred.foreign), ("an absent", referred.absent)):
        if found[1] != "NOT_FOUND":
            problems.append(f"{referred.what}: {whose} id gives {found}; expected NOT_FOUND")
    if referred.linked:
        problems.append(f"{referred.what}: something refers to the other tenant's object")
    return problems


@requirement("ISO-12")
@pytest.mark.parametrize("what", REFERENCES)
def test_foreign_references_are_refused_like_absent_ones(deployment: Deployment, evidence: Evidence, what: str) -> None:
    """The id of tenant two's entity, of nothing, and an own one in the same place: the first two give the same
    refusal, and no reference is left behind."""
    one, two = parties(deployment.subject, "referred")
    own, theirs = one.entity("referred"), two.entity("referred")

    def answer(tried: str) -> tuple[int, str | None, str]:
        found = assert_no_crash(REFERENCES[what](one.client, own, tried), f"{what} as {one.tenant}")
        evidence.add(f"{one.tenant} refers to {tried}", shown(found))
        return found.status, found.error_code, found.body.decode("utf-8", "replace").replace(tried, "<id>")[:400]

    foreign, absent, control = answer(theirs), answer(str(uuid.uuid4())), answer(own)
    referred = Referred(what, control, foreign, absent, _linked(one, theirs) or _linked(two, theirs))
    evidence.add("entity", f"{theirs} of {two.tenant}")
    conclude(
        evidence, judge_references(referred), "NOT_FOUND for both, in the same bytes", f"{what}: {absent[:2]} for both"
    )


def _linked(party: Party, id_: str) -> bool:
    """Whether a relationship or an investigation of the tenant names the id."""
    found: dict[str, Any] = ask(
        party.client,
        f"{{ relationships(entityId: {literal(id_)}) {{ id }} investigations {{ entityIds }} }}",
        what=f"references as {party.tenant}",
    )
    return bool(found["relationships"]) or any(id_ in each["entityIds"] for each in found["investigations"])


@requirement("ISO-12")
def test_deleting_a_foreign_object_touches_no_reference(deployment: Deployment, evidence: Evidence) -> None:
    """Tenant one has an entity of the same id as tenant two's and deletes it: what refers to tenant two's stays."""
    one, two = parties(deployment.subject, "kept")
    id_ = str(uuid.uuid4())
    for party in (one, two):
        party.entity("kept", id=id_)
        create_investigation(party.client, f"kept {party.mark}", entityIds=[id_])
    assert _linked(one, id_) and _linked(two, id_), "control: the references cannot be seen before the deletion"
    ask(one.client, f"mutation {{ deleteEntity(id: {literal(id_)}) }}", what=f"delete as {one.tenant}")
    left = {party.tenant: entity(party.client, id_) for party in (one, two)}
    assert left[one.tenant] is None and two.mark in str(left[two.tenant]), f"control: after the deletion: {left}"
    gone, kept = _linked(one, id_), _linked(two, id_)
    evidence.add("still referred to", {one.tenant: gone, two.tenant: kept})
    problems = [] if kept else [f"the deletion by {one.tenant} took the reference of {two.tenant} to {id_}"]
    problems += [f"control: {one.tenant} still refers to what it deleted"] if gone else []
    conclude(evidence, problems, f"{two.tenant}'s reference stays", "the own reference gone, the other's kept")

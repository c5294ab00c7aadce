"""ISO-14: search, completion, facets, counts and retrieval know the own tenant alone."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from environments.contract import Client, Deployment, Evidence, requirement
from suites.exchange import assert_no_crash, conclude, document
from suites.isolation.parties import canary, parties
from suites.isolation.retrieving import SURFACES, Sight, judge_sights, judge_unmoved
from suites.product import create_entity


@requirement("ISO-14")
@pytest.mark.parametrize("surface", SURFACES)
def test_nothing_of_another_tenant_is_found(deployment: Deployment, evidence: Evidence, surface: str) -> None:
    """A canary of each tenant in kind, label and property: its owner finds it, the other tenant does not."""
    one, two = parties(deployment.subject, "found")
    find, sights = SURFACES[surface], []
    terms = {party.tenant: canary(f"found-{surface.replace(' ', '-')}", party.tenant) for party in (one, two)}
    for party in (one, two):
        term = terms[party.tenant]
        create_entity(party.client, term, {"term": term, "text": f"about {term}"}, labels=[term])
    for owner, other in ((two, one), (one, two)):
        term = terms[owner.tenant]
        sights.append(
            Sight(surface, term, owner.tenant, other.tenant, find(owner.client, term), find(other.client, term))
        )
    evidence.add("canaries", terms)
    evidence.add("shown to the other tenant", {s.owner: str(s.to_other)[:300] for s in sights})
    conclude(
        evidence, judge_sights(sights), "found by its owner alone", f"{surface}: each canary found by its owner alone"
    )


def _found(client: Client, term: str) -> dict[str, Any]:
    found = {name: find(client, term) for name, find in SURFACES.items()}
    usage = client.control("GET", "/v1/billing/usage")
    assert_no_crash(usage, "usage")
    if usage.status == 200:
        found["usage"] = document(usage).get("objects")
    return found


@requirement("ISO-14")
def test_counts_and_ranks_do_not_move_with_another_tenant(deployment: Deployment, evidence: Evidence) -> None:
    """Tenant two writes forty objects that are as like the term as tenant one's three: the counts, scores and order
    that tenant one sees stay as they were."""
    one, two = parties(deployment.subject, "counted")
    term = f"shared-{uuid.uuid4().hex}"
    for n in range(3):
        create_entity(one.client, term, {"text": f"{term} number {n}"}, labels=[term])
    before = _found(one.client, term)
    for n in range(40):
        create_entity(two.client, term, {"text": f"{term} number {n}", "mark": two.mark}, labels=[term, f"{term}-{n}"])
    after = _found(one.client, term)
    evidence.add("before", {name: str(value)[:300] for name, value in before.items()})
    evidence.add("after", {name: str(value)[:300] for name, value in after.items()})
    control = _found(two.client, term)
    assert len(control["search"]["searchEntities"]) >= 40, "control: tenant two does not find its own forty objects"
    conclude(evidence, judge_unmoved(before, after), "unmoved", f"{len(before)} surfaces unmoved by 40 objects")

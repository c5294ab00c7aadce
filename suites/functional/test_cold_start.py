"""FUN-12: after a power loss the node is ready again in time, with its data, whatever the network does."""

from __future__ import annotations

import uuid

import pytest

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import healed_after, signed_in
from suites.functional.corpus import mini
from suites.product import create_entity, entity


@requirement("FUN-12", needs=(Capability.PROCESS_CONTROL, Capability.EGRESS_LEDGER))
@pytest.mark.parametrize("answer", ["drop", "reject"])
def test_cold_start_after_power_loss(deployment: Deployment, evidence: Evidence, answer: str) -> None:
    """All services killed and started with no network: ready within the limit, acknowledged data still there."""
    node = deployment.subject
    limit_s = deployment.ready_limit_s[node.name]
    client = signed_in(node)
    kept = [create_entity(client, "cold-start", {"n": n, "mark": uuid.uuid4().hex})["id"] for n in range(5)]
    with healed_after(deployment):
        deployment.egress.mode(answer)
        for name in deployment.links.names():
            deployment.links.cut(*name.split("--"))
        for service in node.services:
            node.kill(service)
        assert not any(node.alive(service) for service in node.services), "a service survived SIGKILL"
        for service in node.services:
            node.start(service)
        took_s = node.wait_ready(limit_s)
        again = signed_in(node, "analyst")
        lost = [identifier for identifier in kept if entity(again, identifier) is None]
        problems, done = mini(again)
    evidence.expected = f"ready within {limit_s:g} s, 5 of 5 entities, corpus passes"
    evidence.observed = (
        f"ready after {took_s:.2f} s, {len(kept) - len(lost)} of {len(kept)}, {done} operations, {problems}"
    )
    evidence.add("ready_s", round(took_s, 3))
    assert not lost, f"acknowledged entities are gone after the power loss: {lost}"
    assert not problems, problems

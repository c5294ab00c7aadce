"""SYN-01, SYN-02, SYN-04, SYN-06: what the edge acknowledged arrives, nothing else does, and both ends agree."""

from __future__ import annotations

from typing import Any

from environments.contract import Capability, Deployment, Evidence, requirement, vacuous
from suites.exchange import conclude, healed_after
from suites.sync.judges import acknowledged, judge_converged, judge_duplicates, judge_lost, judge_phantoms
from suites.sync.workload import Edge

# Backlogs here are some ten operations, less than a second of any link; the rest is for retries that back off.
DRAIN_S = 20.0
NEEDS = (Capability.LINK_CUTS, Capability.PROCESS_CONTROL)


def _under_faults(edge: Edge) -> None:
    """Writes while the link is up, cut, killed under the cut, healed, and cut in the middle of a transfer."""
    edge.some(6)
    edge.cut()
    edge.some(8)
    edge.wait_tried()
    edge.kill()
    edge.some(6)
    edge.heal()
    edge.some(6)
    edge.cut("in")
    edge.some(4)
    edge.kill()
    edge.heal()
    edge.some(2)


@requirement("SYN-01", needs=NEEDS)
def test_no_acknowledged_write_is_lost(deployment: Deployment, evidence: Evidence) -> None:
    """Writes go on under cuts and kill -9; after the heal, the parent's own client reads all that was acknowledged."""
    with healed_after(deployment):
        edge = Edge(deployment, "syn01")
        _under_faults(edge)
        took_s = edge.wait_settled(DRAIN_S)
        below, above = edge.at_edge(), edge.at_parent()
    evidence.add("history", edge.history.summary())
    evidence.add("drained after", round(took_s, 3))
    problems = judge_lost(edge.history, above) + judge_lost(edge.history, below)
    count = len(acknowledged(edge.history.ops))
    conclude(evidence, problems, "acked minus final is empty", f"{count} acknowledged, all there")


@requirement("SYN-02", needs=NEEDS)
def test_nothing_arrives_that_was_not_written(deployment: Deployment, evidence: Evidence) -> None:
    """Under the same faults, the parent holds no entity, identifier, value or relationship that the workload did not
    write, and none of another tenant's."""
    with healed_after(deployment):
        edge = Edge(deployment, "syn02")
        _under_faults(edge)
        edge.wait_drained(DRAIN_S)
        above = edge.at_parent()
        foreign = [doc for doc in above.entities if doc["tenantId"] != edge.tenant]
    evidence.add("history", edge.history.summary())
    problems = judge_phantoms(edge.history, above) + judge_duplicates(edge.history, above)
    problems += [f"{doc['id']} carries tenant {doc['tenantId']}" for doc in foreign]
    conclude(evidence, problems, "final minus attempted is empty", f"{len(above.entities)} entities, all written here")


@requirement("SYN-04", needs=NEEDS)
def test_both_ends_converge(deployment: Deployment, evidence: Evidence) -> None:
    """The same few entities are created, updated, related and deleted under cuts; after the heal both ends have one
    digest, computed here from what each serves."""
    with healed_after(deployment):
        edge = Edge(deployment, "syn04")
        props: dict[str, Any] = {"text": "h\u00e9llo \U0001f6f0 ", "none": None, "nested": {"list": [1, 2.5, None, ""]}}
        keys = [edge.create(**props).key for _ in range(4)]
        for round_ in range(3):
            edge.cut(("both", "out", "in")[round_])
            for key in keys:
                edge.update(key)
            edge.relate(keys[0], keys[1])
            edge.create(blob="x" * 4000, **props)
            edge.heal()
        edge.cut()
        gone = edge.delete(keys.pop())
        edge.update(keys[0])
        edge.heal()
        took_s = edge.wait_drained(DRAIN_S)
        below, above = edge.at_edge(), edge.at_parent()
    evidence.add("history", edge.history.summary())
    evidence.add("digests", {below.name: below.digest, above.name: above.digest, "after_s": round(took_s, 3)})
    problems = judge_converged([below, above], took_s, DRAIN_S) + judge_lost(edge.history, above)
    if gone.outcome != "ok":
        vacuous("the deletion was not acknowledged")
    conclude(evidence, problems, f"equal digests within {DRAIN_S:g} s", f"equal after {took_s:.2f} s")


@requirement("SYN-06", needs=NEEDS)
def test_kill_while_offline_loses_nothing(deployment: Deployment, evidence: Evidence) -> None:
    """Offline, the edge is killed -9 between and right after writes, at points by seed; after reconnection it
    delivers by itself everything it had acknowledged."""
    with healed_after(deployment):
        edge = Edge(deployment, "syn06")
        first = edge.create()
        edge.wait_arrived(1, DRAIN_S)
        edge.cut()
        for _ in range(2):
            edge.some(3 + edge.rng.randrange(6))
            edge.kill()
        edge.some(2)
        edge.kill()
        held_back = edge.at_parent()
        edge.heal()
        took_s = edge.wait_drained(DRAIN_S)
        below, above = edge.at_edge(), edge.at_parent()
    if len(held_back.entities) > 1:
        vacuous("the cut held nothing back")
    evidence.add("history", edge.history.summary())
    evidence.add("drained after", round(took_s, 3))
    problems = judge_lost(edge.history, above) + judge_lost(edge.history, below)
    problems += judge_converged([below, above], took_s, DRAIN_S)
    if first.key not in {doc["props"]["key"] for doc in held_back.entities}:
        problems.append("the write before the cut did not arrive: sync did not work to begin with")
    conclude(evidence, problems, "all acknowledged writes delivered, drain by itself", f"drained after {took_s:.2f} s")

"""SYN-03: delivered again is not done again."""

from __future__ import annotations

import uuid
from typing import Any

from environments.contract import Capability, Client, Deployment, Evidence, User, requirement, untestable, vacuous
from suites import feed
from suites.exchange import ask, conclude, document, healed_after, shown
from suites.product import entity
from suites.sync.judges import judge_duplicates, judge_effects, judge_lost
from suites.sync.test_delivery import DRAIN_S
from suites.sync.workload import Edge, effects_since

FULL = "id tenantId kind labels props createdAt updatedAt createdBy version"


@requirement("SYN-03", needs=(Capability.LINK_CUTS, Capability.PROCESS_CONTROL))
def test_lost_acknowledgements_have_no_second_effect(deployment: Deployment, evidence: Evidence) -> None:
    """Acknowledgements are cut off while batches go up, and the edge or the parent is killed before they get
    through: each object is once at the parent, and its feed tells of each change once."""
    with healed_after(deployment):
        edge = Edge(deployment, "syn03")
        mark = feed.read(edge.above).end
        edge.some(3)
        edge.wait_drained(DRAIN_S)
        before = len(edge.at_parent().entities)
        seen_while_cut = 0
        for victim in ("edge", "parent", "edge"):
            edge.slow_answers(1.0)  # so that an acknowledgement is on its way for long enough to be cut off
            edge.create()
            edge.some(3)
            seen_while_cut += edge.wait_more(before, 8.0)
            edge.cut("in")
            if victim == "edge":
                edge.kill()
            else:
                edge.kill_parent()
            edge.heal()
            edge.wait_drained(DRAIN_S)
            before = len(edge.at_parent().entities)
        above, effects = edge.at_parent(), effects_since(edge.above, mark)
    evidence.add("history", edge.history.summary())
    evidence.add("rounds in which a write arrived and its acknowledgement was lost", f"{seen_while_cut} of 3")
    if not seen_while_cut:
        vacuous("no acknowledgement was lost: nothing was delivered twice")
    problems = (
        judge_duplicates(edge.history, above) + judge_effects(edge.history, effects) + judge_lost(edge.history, above)
    )
    conclude(
        evidence, problems, "each once", f"{len(above.entities)} entities, {sum(effects.values())} events, none twice"
    )


@requirement("SYN-03", needs=(Capability.LINK_CUTS,))
def test_a_batch_delivered_again_changes_nothing(deployment: Deployment, evidence: Evidence) -> None:
    """The suite, with the edge's own enrolment, delivers numbers a second time, after their objects moved on: known
    by number (acknowledged) or as a clone's (CONFLICT), nothing changes, and no event tells of them."""
    with healed_after(deployment):
        edge = Edge(deployment, "syn03r")
        enrolled = _enrolment(edge)
        one, two = edge.create(), edge.create()
        edge.wait_drained(DRAIN_S)
        start = edge.acked_seq()
        original = _document(edge, str(one.id))
        edge.relate(one.key, two.key)
        edge.wait_drained(DRAIN_S)
        link = edge.at_edge().relationships[0]
        edge.update(one.key)
        edge.delete(two.key)
        edge.wait_drained(DRAIN_S)
        if edge.acked_seq() < start + 3:
            vacuous("the edge's own operations were not acknowledged")
        mark, before = feed.read(edge.above).end, edge.at_parent().digest
        stray = str(uuid.uuid4())
        fresh = {**original, "id": stray, "props": {"key": "stray", "value": 1}}
        deliveries: dict[str, tuple[int, str, dict[str, Any]]] = {
            "an entity as it was, after its update": (start, "entity.put", original),
            "a deletion's entity, put again": (start - 1, "entity.put", {**original, "id": str(two.id)}),
            "a relationship whose end is deleted": (start + 1, "relationship.put", dict(link)),
            "an object never seen, under a number that was used": (start, "entity.put", fresh),
            "a deletion under a number that was used": (start, "entity.delete", {"id": str(one.id), "version": 99}),
        }
        problems = []
        for name, (seq, kind, doc) in deliveries.items():
            answer = _deliver(enrolled, edge, seq, kind, doc)
            evidence.add(name, answer)
            if answer["status"] != 200 and answer["code"] != "CONFLICT":
                problems.append(f"{name}: neither acknowledged nor refused as a conflict: {answer}")
            if edge.at_parent().digest != before or entity(edge.above, stray) is not None:
                problems.append(f"{name}: the parent's state changed")
        effects = effects_since(edge.above, mark)
    mine = {str(one.id), str(two.id), stray, str(link["id"])}
    problems += [f"an event tells of {key} again" for key in effects if key in mine]
    conclude(evidence, problems, "no effect", f"{len(deliveries)} repeated deliveries without effect")


def _enrolment(edge: Edge) -> Client:
    """The edge's account at its parent, where the deployment gives it to the suite."""
    name = f"node:{edge.node.node_id}"
    user: User | None = next((u for u in edge.parent.users if u.username == name), None)
    if user is None:
        untestable(f"the deployment does not give the enrolment of {name} to the suite")
    return edge.parent.login(user)


def _document(edge: Edge, identifier: str) -> dict[str, Any]:
    query = f"query($id: ID!) {{ entity(id: $id) {{ {FULL} }} }}"
    found: dict[str, Any] = ask(edge.client, query, {"id": identifier})["entity"]
    return found


def _deliver(enrolled: Client, edge: Edge, seq: int, kind: str, doc: dict[str, Any]) -> dict[str, Any]:
    op = {"seq": seq, "op_id": str(uuid.uuid4()), "kind": kind, "doc": doc, "tenant": edge.tenant}
    batch = {"node_id": edge.node.node_id, "first_seq": seq, "ops": [op]}
    answer = enrolled.data("POST", "/v1/sync/batches", json=batch)
    return {**shown(answer, 200), "acked_seq": document(answer).get("acked_seq") if answer.status == 200 else None}

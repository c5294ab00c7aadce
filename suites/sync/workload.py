"""A seeded workload at the edge under faults, and the final reads at both ends."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from environments.contract import Client, Deployment, Node, Response, SuiteError, TransportError
from suites import feed
from suites.exchange import ask, assert_no_crash, document, shown, signed_in, tenants
from suites.product import ENTITY, RELATIONSHIP, literal
from suites.sync.history import History, Kind, Op, Outcome, Replica
from suites.waiting import wait_until

PAGE = 500
WRITE_TIMEOUT_S = 2.0
PER_S = 20  # writes a second of a steady workload
TRIED_S = 1.5  # a batch is on its way, times out and is tried again


def parent_of(deployment: Deployment) -> Node:
    if deployment.parent is None:
        raise SuiteError(f"profile {deployment.profile} has an edge without a parent")
    return deployment.parent


def tenant_of(deployment: Deployment) -> str:
    """A tenant that edge and parent share."""
    common = sorted(set(tenants(deployment.subject)) & set(tenants(parent_of(deployment))))
    if not common:
        raise SuiteError("edge and parent share no tenant")
    return common[0]


class Edge:
    """The edge as a client of one tenant sees it: signs in again after a kill, notes how each write ended."""

    def __init__(self, deployment: Deployment, label: str) -> None:
        self.deployment, self.node, self.parent = deployment, deployment.subject, parent_of(deployment)
        self.tenant = tenant_of(deployment)
        self.run = f"{label}-{uuid.uuid4().hex[:10]}"  # the kind of this workload's entities: others' are left alone
        self.history = History(deployment.seed)
        self.rng = random.Random(f"{deployment.seed}/{label}")
        self.started = time.monotonic()
        self.client: Client = signed_in(self.node, "admin", self.tenant)
        self.above: Client = signed_in(self.parent, "admin", self.tenant)
        self.alive: dict[str, str] = {}  # key -> id of entities that exist for sure

    # faults

    def fault(self, what: str) -> None:
        self.history.events.append({"t_s": round(time.monotonic() - self.started, 3), "what": what})

    def cut(self, direction: str = "both") -> None:
        """direction: both, out (edge to parent) or in (parent to edge)."""
        here, there = self.node.site, self.parent.site
        self.fault(f"cut {direction}")
        if direction == "both":
            self.deployment.links.cut(here, there)
        elif direction == "out":
            self.deployment.links.cut(here, there, both=False)
        else:
            self.deployment.links.cut(there, here, both=False)

    def slow_answers(self, delay_s: float) -> None:
        """What the parent sends takes this long; what the edge sends takes what the profile says."""
        here, there = self.node.site, self.parent.site
        self.fault(f"answers take {delay_s:g} s")
        state = replace(self.deployment.links.get(there, here), delay_s=delay_s, jitter_s=0.0)
        self.deployment.links.set(there, here, state, both=False)

    def heal(self) -> None:
        self.fault("heal")
        self.deployment.links.heal()

    def kill(self) -> None:
        """kill -9 of the edge, and a start."""
        self.fault("kill edge")
        self.node.kill("edge")
        self.node.start("edge")
        self.node.wait_ready()
        self.client = signed_in(self.node, "admin", self.tenant)

    def kill_parent(self) -> None:
        """kill -9 of the parent's data service, and a start."""
        self.fault("kill parent")
        self.parent.kill("data")
        self.parent.start("data")
        self.parent.wait_ready()

    # writes

    def create(self, **props: Any) -> Op:
        key, value = f"{self.run}/{len(self.history.ops)}", self.rng.randrange(10**6)
        given = {"kind": self.run, "labels": ["sync"], "props": {"key": key, "value": value, **props}}
        op = self._write(
            "create", key, value, f"mutation {{ r: createEntity(input: {literal(given)}) {{ {ENTITY} }} }}"
        )
        if op.outcome == "ok" and op.id:
            self.alive[key] = op.id
        return op

    def update(self, key: str) -> Op:
        value, identifier = self.rng.randrange(10**6), self.alive[key]
        change = {"props": {"key": key, "value": value}}
        query = f"mutation {{ r: updateEntity(id: {literal(identifier)}, input: {literal(change)}) {{ {ENTITY} }} }}"
        return self._write("update", key, value, query, identifier)

    def delete(self, key: str) -> Op:
        identifier = self.alive.pop(key)
        return self._write("delete", key, 0, f"mutation {{ r: deleteEntity(id: {literal(identifier)}) }}", identifier)

    def relate(self, one: str, two: str) -> Op:
        key = f"{self.run}/{len(self.history.ops)}"
        given = {"srcId": self.alive[one], "dstId": self.alive[two], "type": "SYNC", "props": {"key": key, "value": 0}}
        query = f"mutation {{ r: createRelationship(input: {literal(given)}) {{ {RELATIONSHIP} }} }}"
        return self._write("relate", key, 0, query, note=f"{one}>{two}")

    def some(self, count: int) -> None:
        """A seeded mixture; updates and deletions fall on the same few entities."""
        for _ in range(count):
            draw, keys = self.rng.random(), sorted(self.alive)
            if draw < 0.55 or len(keys) < 2:
                self.create()
            elif draw < 0.8:
                self.update(self.rng.choice(keys))
            elif draw < 0.9:
                self.relate(*self.rng.sample(keys, 2))
            else:
                self.delete(self.rng.choice(keys))

    def write_for(self, duration_s: float) -> None:
        """Create all the time, PER_S times a second: what a cut catches in flight is then the seed's choice."""
        until_s = time.monotonic() + duration_s
        while (now_s := time.monotonic()) < until_s:
            self.create()
            wait_until(lambda due=now_s + 1 / PER_S: time.monotonic() >= due, 1 / PER_S)  # type: ignore[misc]

    def _write(self, kind: Kind, key: str, value: int, query: str, id_: str | None = None, note: str = "") -> Op:
        outcome: Outcome = "unknown"
        at_s = time.monotonic() - self.started
        try:
            answer = self.client.graphql(query, timeout_s=WRITE_TIMEOUT_S)
        except TransportError as error:
            note = note or error.kind
        else:
            outcome, told = _outcome(answer, f"{kind} {key}")
            id_ = id_ or told
        op = Op(len(self.history.ops), kind, key, value, outcome, id_, round(at_s, 4), note)
        self.history.ops.append(op)
        return op

    # reads

    def at_edge(self) -> Replica:
        return replica("edge", self.client, self.run)

    def at_parent(self) -> Replica:
        return replica("parent", self.above, self.run)

    def status(self) -> dict[str, Any]:
        """GET /v1/sync: a hint when to look; no verdict rests on it."""
        answer = self.node.login(self.node.user("operator")).admin("GET", "/v1/sync")
        assert answer.status == 200, f"GET /v1/sync: {shown(answer)}"
        return document(answer)

    def acked_seq(self) -> int:
        """The last number that the parent acknowledged, once nothing waits any more."""
        wait_until(lambda: self.status()["backlog"] == 0, 10.0)
        return int(self.status()["acked_seq"])

    def wait_tried(self) -> None:
        """Until an attempt to send has failed, or that ought to have been: what an attempt loses shows only then."""
        wait_until(lambda: self.status()["last_error"] is not None, TRIED_S)

    def wait_drained(self, limit_s: float) -> float:
        """Until the parent holds what the edge holds; seconds it took. No longer than the limit: the judges say why."""
        return wait_until(lambda: self.at_edge().digest == self.at_parent().digest, limit_s)

    def wait_settled(self, limit_s: float) -> float:
        """Until both ends hold the same or, by the edge's own word, nothing waits any more: what is not at the parent
        then will not come. Seconds it took."""
        return wait_until(
            lambda: self.status()["backlog"] == 0 or self.at_edge().digest == self.at_parent().digest, limit_s
        )

    def wait_more(self, count: int, limit_s: float) -> bool:
        """Until the parent holds more than `count` entities; whether it does."""
        self.wait_arrived(count + 1, limit_s)
        return len(self.at_parent().entities) > count

    def wait_arrived(self, count: int, limit_s: float) -> float:
        return wait_until(lambda: len(self.at_parent().entities) >= count, limit_s)


def _outcome(answer: Response, what: str) -> tuple[Outcome, str | None]:
    assert_no_crash(answer, what)
    result = (document(answer).get("data") or {}).get("r") if answer.status == 200 else None
    if not result:
        return "refused", None
    return "ok", result["id"] if isinstance(result, Mapping) else None


def replica(name: str, client: Client, kind: str) -> Replica:
    """Every entity of the workload and their relationships, as this client reads them, page by page."""
    entities: list[Mapping[str, Any]] = []
    query = f"query($k: String, $o: Int) {{ entities(kind: $k, limit: {PAGE}, offset: $o) {{ {ENTITY} createdBy }} }}"
    while True:
        page = ask(client, query, {"k": kind, "o": len(entities)}, what=f"entities at {name}")["entities"]
        entities += page
        if len(page) < PAGE:
            break
    found: dict[str, Mapping[str, Any]] = {}
    everything = ask(client, f"{{ relationships {{ {RELATIONSHIP} }} }}", what=f"relationships at {name}")
    for doc in everything["relationships"]:
        if str(doc["props"].get("key", "")).startswith(kind + "/"):
            found[doc["id"]] = doc
    return Replica(name, tuple(entities), tuple(found.values()))


def effects_since(client: Client, mark: int) -> dict[str, int]:
    """Object id -> how many events the tenant's feed tells of it after the mark."""
    return dict(Counter(str(event["id"]) for event in feed.read(client, mark).events))

"""Sync: nothing acknowledged is lost, nothing is done twice, whatever the link does."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offline_kit import code_of, node

from environments.companyos import outgoing, sync, sync_receiver
from environments.companyos.errors import ApiError
from environments.companyos.services import Principal, Services

ENROLMENT = {"tenant": "acme", "username": "node:node-d", "password": "x", "roles": ["node"]}
NODE = Principal("node:node-d", "acme", ("node",), 9e9)


class Link:
    """From the pusher to a real receiver, over a link that loses requests and answers as it is told."""

    def __init__(self, parent: Services, faults: Iterator[str] | None = None) -> None:
        self.parent, self.faults = parent, faults
        self.batches: list[Any] = []
        self.logins = 0
        self.token = "t1"

    def close(self) -> None: ...

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> outgoing.Answer:
        if path == "/v1/auth/login":
            self.logins += 1
            return outgoing.Answer(200, {}, json.dumps({"accessToken": self.token}).encode())
        fault = next(self.faults, "none") if self.faults else "none"
        if headers["Authorization"] != f"Bearer {self.token}":
            return outgoing.Answer(401, {}, b"{}")
        if fault == "request":
            raise outgoing.LinkError("timeout")
        batch = sync_receiver.parse(body)
        self.batches.append(batch)
        try:
            found = sync_receiver.receive(self.parent, NODE, batch)
        except ApiError as error:
            return outgoing.Answer(error.status, {}, json.dumps({"error": {"code": error.code}}).encode())
        if fault == "answer":
            raise outgoing.LinkError("reset")
        return outgoing.Answer(200, {}, json.dumps(found).encode())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, Services]]:
    """An edge, and a parent whose store is SQLite too."""
    home = tmp_path_factory.mktemp("pair")
    edge = node(home / "edge", enrolment=ENROLMENT, parent_url="http://127.0.0.1:1")
    parent = node(home / "parent", node_id="parent")
    yield edge, parent
    edge.store.close()
    parent.store.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Services]:
    found = node(tmp_path / "edge", enrolment=ENROLMENT, parent_url="http://127.0.0.1:1")
    yield found
    found.store.close()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Services]:
    found = node(tmp_path / "parent", node_id="parent")
    yield found
    found.store.close()


def entity(**changes: Any) -> dict[str, Any]:
    now = "2026-01-01T00:00:00.000000Z"
    return {
        "id": str(uuid.uuid4()),
        "tenantId": "acme",
        "kind": "Person",
        "labels": [],
        "props": {},
        "createdAt": now,
        "updatedAt": now,
        "createdBy": "ann",
        "version": 1,
        **changes,
    }


def write(edge: Services, tenant: str = "acme", **changes: Any) -> str:
    doc = entity(**changes)
    with edge.store.transaction(tenant) as tx:
        tx.put_entity(doc)
        tx.write_outbox({"op_id": str(uuid.uuid4()), "kind": "entity.put", "doc": doc})
    return str(doc["id"])


def drain(edge: Services, link: Link, attempts: int = 1) -> None:
    for _ in range(attempts):
        sync.attempt(edge, link, link)  # type: ignore[arg-type]


def ids(services: Services) -> set[str]:
    with services.store.transaction("acme") as tx:
        return {doc["id"] for doc in tx.list_entities(limit=-1)}


def events(services: Services) -> list[str]:
    with services.store.transaction("acme") as tx:
        return [event["id"] for event in tx.events_after(0, 10_000)]


def batch(*ops: dict[str, Any], first: int | None = None, **more: Any) -> bytes:
    body = {"node_id": "node-d", "first_seq": ops[0]["seq"] if first is None else first, "ops": list(ops), **more}
    return json.dumps(body).encode()


def op(seq: int, kind: str = "entity.put", doc: dict[str, Any] | None = None, op_id: str = "") -> dict[str, Any]:
    return {"seq": seq, "op_id": op_id or f"op-{seq}", "kind": kind, "doc": entity() if doc is None else doc}


def deliver(parent: Services, raw: bytes) -> dict[str, Any]:
    return sync_receiver.receive(parent, NODE, sync_receiver.parse(raw))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["none", "request", "answer"]), max_size=12), st.integers(1, 30))
def test_any_faults_deliver_each_write_once(pair: tuple[Services, Services], faults: list[str], count: int) -> None:
    edge, parent = pair
    before = len(events(parent))
    written = {write(edge, props={"pad": "x" * random.Random(i).randrange(2000)}) for i in range(count)}
    link = Link(parent, iter(faults))
    drain(edge, link, len(faults) + 2)
    assert edge.store.backlog() == 0
    assert written <= ids(parent)
    assert ids(parent) == ids(edge)
    assert len(events(parent)) - before == count
    assert sync.status(edge)["last_error"] is None


def test_backlog_stays_while_nobody_answers_and_goes_when_somebody_does(edge: Services, parent: Services) -> None:
    written = {write(edge) for _ in range(5)}
    link = Link(parent, iter(["request"] * 3))
    drain(edge, link, 3)
    found = sync.status(edge)
    assert (found["backlog"], found["acked_seq"], found["last_contact_s"]) == (5, 0, None)
    assert found["last_error"] == "UNREACHABLE: timeout"
    drain(edge, link)
    found = sync.status(edge)
    assert (found["backlog"], found["acked_seq"], found["last_error"]) == (0, 5, None)
    assert ids(parent) == written


def test_pauses_are_bounded_and_never_the_same(edge: Services) -> None:
    assert sync.pause_s(edge, 0) == edge.config.sync_interval_s
    pauses = {sync.pause_s(edge, 50) for _ in range(20)}
    assert len(pauses) > 1
    assert all(sync.MAX_BACKOFF_S / 2 <= pause <= sync.MAX_BACKOFF_S for pause in pauses)


def test_batches_grow_while_it_goes_well_and_shrink_when_it_does_not(edge: Services, parent: Services) -> None:
    for _ in range(40):
        write(edge, props={"pad": "x" * 1500})
    link = Link(parent)
    drain(edge, link)
    sizes = [len(each.ops) for each in link.batches]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sum(sizes) == 40
    link.faults = iter(["request"] * 9)
    write(edge)
    drain(edge, link, 9)
    assert sync.state(edge).batch_bytes == sync.FIRST_BATCH_BYTES


def test_an_expired_token_is_replaced(edge: Services, parent: Services) -> None:
    link = Link(parent)
    write(edge)
    drain(edge, link)
    link.token = "t2"
    write(edge)
    drain(edge, link)
    assert (link.logins, edge.store.backlog()) == (2, 0)


def test_other_tenants_of_the_edge_stay_there(edge: Services, parent: Services) -> None:
    foreign = {write(edge, "globex"), write(edge, "globex")}
    own = {write(edge)}
    foreign.add(write(edge, "globex"))
    link = Link(parent)
    drain(edge, link)
    assert ids(parent) == own
    assert edge.store.backlog() == 0
    assert not any(id_ in json.dumps([each.ops for each in link.batches]) for id_ in foreign)
    own.add(write(edge))
    drain(edge, link)
    assert ids(parent) == own


def test_what_comes_again_has_no_effect(parent: Services) -> None:
    one = op(1)
    assert deliver(parent, batch(one)) == {"acked_seq": 1}
    assert deliver(parent, batch(one)) == {"acked_seq": 1}
    found = deliver(parent, batch(op(1, op_id="another")))
    assert found == {"acked_seq": 1, "conflicts": [1]}
    assert ids(parent) == {one["doc"]["id"]}
    assert len(events(parent)) == 1


def test_a_clone_keeps_what_it_has(edge: Services, parent: Services) -> None:
    deliver(parent, batch(op(1), op(2)))
    write(edge)
    drain(edge, Link(parent))
    assert (edge.store.backlog(), sync.status(edge)["last_error"]) == (1, "SYNC_CLONED")


def test_a_gap_is_refused_and_nothing_of_the_batch_applied(parent: Services) -> None:
    assert code_of(deliver, parent, batch(op(3), op(4))) == "CONFLICT"
    assert ids(parent) == set()
    assert deliver(parent, batch(op(3), first=1))["acked_seq"] == 3


def test_a_poisoned_operation_is_quarantined_alone(parent: Services) -> None:
    good = [op(1), op(4)]
    bad = [op(2, doc={"id": "no uuid"}), op(3, kind="unknown")]
    found = deliver(parent, batch(good[0], *bad, good[1]))
    assert found["acked_seq"] == 4
    assert ids(parent) == {each["doc"]["id"] for each in good}
    kept = parent.store.meta_get("quarantine.acme.node-d.2")
    assert kept is not None and json.loads(json.loads(kept)["op"]) == bad[0]
    assert deliver(parent, batch(good[0], *bad, good[1]))["acked_seq"] == 4
    assert len(events(parent)) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"node_id": "n", "first_seq": 0, "ops": []}',
        b'{"node_id": "n", "first_seq": 1, "ops": [1]}',
        batch(op(2), op(1)),
        batch(op(1), op(1)),
        batch(op(1), first=2),
        batch(op(5), through_seq=4),
        b'{"node_id": "n", "first_seq": true, "ops": []}',
    ],
)
def test_malformed_batches(raw: bytes) -> None:
    assert code_of(sync_receiver.parse, raw) == "INVALID"


def test_a_node_speaks_for_itself() -> None:
    assert code_of(sync_receiver.check_sender, NODE, "node-d") is None
    assert code_of(sync_receiver.check_sender, NODE, "node-e") == "FORBIDDEN"
    assert code_of(sync_receiver.check_sender, Principal("ann", "acme", ("admin",), 9e9), "ann") == "FORBIDDEN"

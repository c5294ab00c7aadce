"""The two databases keep the same promises: differential tests where PostgreSQL runs, SQLite alone elsewhere."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import node_config, postgres_dsns

from environments.companyos import audit
from environments.companyos.clock import Clock
from environments.companyos.config import KeyStoreConfig
from environments.companyos.errors import ApiError
from environments.companyos.install import install
from environments.companyos.keys import filed, open_key_store
from environments.companyos.keys.sealing import Sealer
from environments.companyos.storage import rows, sql
from environments.companyos.storage.base import Store
from environments.companyos.storage.graph import RelationalGraph
from environments.companyos.storage.open import open_store
from environments.companyos.storage.syncing import wins


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        config = node_config(tmp_path, "D", "edge")
    else:
        admin, app = postgres_dsns()
        config = node_config(tmp_path, "A", "saas", postgres_admin_dsn=admin, postgres_app_dsn=app)
    install(config)
    found = open_store(config)
    yield found
    found.close()


def doc(n: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "kind": "Person",
        "labels": ["a"],
        "props": {"n": n},
        "createdAt": f"2026-01-01T00:00:00.{n:06d}Z",
        "updatedAt": f"2026-01-01T00:00:00.{n:06d}Z",
        "createdBy": "ann",
        "version": 1,
        **changes,
    }


def link(src: str, dst: str) -> dict[str, Any]:
    created = "2026-01-01T00:00:00.000000Z"
    return {"id": str(uuid.uuid4()), "srcId": src, "dstId": dst, "type": "k", "props": {}, "createdAt": created}


def test_tenants_see_their_own_rows_alone(store: Store) -> None:
    one = doc(props={"name": "ÄÖ straße"})
    with store.transaction("acme") as tx:
        tx.put_entity(one)
    with store.transaction("globex") as tx:
        assert tx.get_entity(one["id"]) is None
        assert tx.search("STRASSE") == [] and not tx.delete_entity(one["id"])
        tx.put_entity({**one, "kind": "Other"})  # the same id, in its own tenant
    with store.transaction("acme") as tx:
        assert tx.search("STRASSE") == [{**one, "tenantId": "acme"}]
        assert tx.search("100%") == [] and tx.search("stra_e") == []


def test_what_comes_and_goes_during_a_sealed_search_moves_nothing_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_store = KeyStoreConfig(kind="file", path=tmp_path / "key")
    filed.prepare(key_store)
    store.sealer = Sealer(open_key_store(key_store), 60.0)
    monkeypatch.setattr(sql, "SEARCH_PAGE", 2)
    docs = [doc(n, props={"name": "Straße"}) for n in (1, 2, 2, 3, 3, 4)]
    with store.transaction("acme") as tx:
        for each in docs:
            tx.put_entity(each)
        genuine, reads = tx.rows, itertools.count()

        def meanwhile(statement: str, **params: Any) -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = genuine(statement, **params)
            if "ORDER BY created_at" in statement:
                match next(reads):
                    case 0:
                        tx.put_entity(doc(0, props={"name": "other"}))
                    case 1:
                        assert tx.delete_entity(docs[0]["id"])
            return found

        monkeypatch.setattr(tx, "rows", meanwhile)
        found = [each["id"] for each in tx.search("STRASSE")]
        assert sorted(found) == sorted(each["id"] for each in docs)


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    one = doc()
    with pytest.raises(ApiError, match="x"), store.transaction("acme") as tx:
        tx.put_entity(one)
        tx.append_event("entity.create", "entity", one["id"])
        raise ApiError("INVALID", message="x")
    with store.transaction("acme") as tx:
        assert tx.get_entity(one["id"]) is None and tx.events_after(0) == []


def test_references_and_uniqueness_are_per_tenant(store: Store) -> None:
    mine, theirs = doc(), doc()
    with store.transaction("acme") as tx:
        tx.put_entity(mine)
    with store.transaction("globex") as tx:
        tx.put_entity(theirs)
    codes = []
    for target in (theirs["id"], str(uuid.uuid4()), "no-uuid"):
        with pytest.raises(ApiError) as caught, store.transaction("acme") as tx:
            tx.put_relationship(link(mine["id"], target))
        codes.append((caught.value.code, caught.value.message))
    assert set(codes) == {("NOT_FOUND", "no such object")}
    with pytest.raises(ApiError) as caught, store.transaction("acme") as tx:
        tx.put_entity(mine, new=True)
    assert caught.value.code == "CONFLICT"


def test_events_count_within_the_tenant_and_audit_chains(store: Store, tmp_path: Path) -> None:
    log = audit.AuditLog(store, Clock())
    for tenant in ("acme", "globex", "acme"):
        with store.transaction(tenant) as tx:
            tx.append_event("entity.create", "entity", "x")
            tx.append_audit(log.entry(tenant, "ann", "entity.create", "entity", "x"))
    log.append("acme", "ann", "login", "user", "ann", "denied")
    with store.transaction("acme") as tx:
        assert [event["seq"] for event in tx.events_after(0)] == [1, 2]
    entries = log.after(0)
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4]
    for before, entry in zip([{"hash": audit.FIRST}, *entries], entries, strict=False):
        assert entry["prev"] == before["hash"] and entry["hash"] == audit.entry_hash(entry)


def test_neighbourhood_ends_at_depth_and_survives_cycles(store: Store) -> None:
    chain = [doc(n) for n in range(5)]
    with store.transaction("acme") as tx:
        for item in chain:
            tx.put_entity(item)
        for one, two in itertools.pairwise(chain):
            tx.put_relationship(link(one["id"], two["id"]))
        tx.put_relationship(link(chain[2]["id"], chain[0]["id"]))
        tx.put_relationship(link(chain[0]["id"], chain[0]["id"]))
    graph = RelationalGraph(store)
    ids = [item["id"] for item in chain]
    assert graph.neighborhood("acme", ids[0], 0, 10) == ([ids[0]], False)
    near = graph.neighborhood("acme", ids[0], 1, 10)
    assert near is not None and set(near[0]) == {ids[0], ids[1], ids[2]}
    assert graph.neighborhood("globex", ids[0], 2, 10) is None
    cut = graph.neighborhood("acme", ids[0], 4, 2)
    assert cut is not None and len(cut[0]) == 2 and cut[1]


def test_sync_operations_apply_once_and_converge(store: Store) -> None:
    base = doc()
    second = {**base, "version": 2, "props": {"n": 2}}
    rival = {**base, "version": 2, "props": {"n": 3}}
    results = set()
    for number, order in enumerate(itertools.permutations([base, second, rival])):
        id_ = str(uuid.uuid4())
        for writer, item in enumerate(order):
            op = {"kind": "entity.put", "doc": {**item, "id": id_}}
            with store.transaction("acme") as tx:
                assert tx.apply_sync_op(f"edge-{number}-{writer}", 1, op)
            with store.transaction("acme") as tx:
                assert not tx.apply_sync_op(f"edge-{number}-{writer}", 1, op)
        with store.transaction("acme") as tx:
            merged = tx.get_entity(id_)
        assert merged is not None
        results.add((merged["version"], str(merged["props"])))
    assert len(results) == 1
    with pytest.raises(ApiError, match="missing"), store.transaction("acme") as tx:
        tx.apply_sync_op("edge-x", 2, {"kind": "entity.put", "doc": base})


@pytest.mark.parametrize("acknowledged", [0, 1])
def test_a_batch_that_is_overtaken_does_not_set_the_mark_back(store: Store, acknowledged: int) -> None:
    """Killed while the link is down, an edge leaves a batch in its kernel. It arrives after the heal, beside what the
    edge sends when it is back: the same operations, and more."""
    ops = [{"kind": "entity.put", "doc": doc(n)} for n in range(4)]
    began = threading.Event()

    def deliver(first: int, last: int, begins: threading.Event | None = None) -> None:
        with store.transaction("acme") as tx:
            if begins:
                begins.set()
            for seq in range(first, last + 1):
                tx.apply_sync_op("edge", seq, ops[seq - 1])

    if acknowledged:
        deliver(1, acknowledged)
    first = acknowledged + 1
    late = threading.Thread(target=deliver, args=(first, 2, began))
    with store.transaction("acme") as tx:
        assert tx.apply_sync_op("edge", first, ops[first - 1])
        late.start()  # waits for what this transaction holds: all of SQLite, some rows of PostgreSQL
        if store.kind != "sqlite":
            assert began.wait(10)
        late.join(0.3)
        assert late.is_alive()
        for seq in range(first + 1, 4):
            tx.apply_sync_op("edge", seq, ops[seq - 1])
    late.join(10)
    with store.transaction("acme") as tx:
        assert tx.sync_mark("edge") == 3
        assert tx.apply_sync_op("edge", 4, ops[3])
    with store.transaction("acme") as tx:
        assert len(tx.list_entities()) == 4
        assert [event["id"] for event in tx.events_after(0)] == [op["doc"]["id"] for op in ops]


@pytest.mark.parametrize(
    "bad", [{"kind": 5}, {"labels": "x"}, {"labels": [1]}, {"props": []}, {"version": "2"}, {"version": 0}, {"id": "x"}]
)
def test_malformed_sync_documents_are_refused(store: Store, bad: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught, store.transaction("acme") as tx:
        tx.apply_sync_op("edge", 1, {"kind": "entity.put", "doc": {**doc(), **bad}})
    assert caught.value.code == "INVALID"
    with store.transaction("acme") as tx:
        assert tx.sync_mark("edge") == 0 and tx.list_entities() == []


def test_a_late_write_does_not_raise_the_dead(store: Store) -> None:
    base = doc()
    gone = {"id": base["id"], "version": 2}
    for node, kind, item in (("e1", "entity.put", base), ("e2", "entity.delete", gone), ("e3", "entity.put", base)):
        with store.transaction("acme") as tx:
            tx.apply_sync_op(node, 1, {"kind": kind, "doc": item})
    with store.transaction("acme") as tx:
        assert tx.get_entity(base["id"]) is None
        tx.apply_sync_op("e4", 1, {"kind": "entity.put", "doc": {**base, "version": 3}})
        assert tx.get_entity(base["id"]) is not None


def test_outbox_is_written_with_the_entity(tmp_path: Path) -> None:
    config = node_config(tmp_path, "D", "edge")
    install(config)
    store = open_store(config)
    with store.transaction("acme") as tx:
        tx.put_entity(one := doc())
        tx.write_outbox({"op_id": "o1", "kind": "entity.put", "doc": one})
    with pytest.raises(RuntimeError), store.transaction("acme") as tx:
        tx.write_outbox({"op_id": "o2", "kind": "entity.put", "doc": one})
        raise RuntimeError
    assert [op["op_id"] for op in store.outbox_after(0)] == ["o1"] and store.backlog() == 1
    store.ack_outbox(1)
    assert store.backlog() == 0 and store.acked_seq() == 1
    with store.transaction("acme") as tx:
        tx.write_outbox({"op_id": "o3", "kind": "entity.put", "doc": one})
    assert store.outbox_after(1)[0]["seq"] == 2, "numbers are never used again"
    store.close()
    raw = sqlite3.connect(tmp_path / "companyos.sqlite")
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_broken_database_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    config = node_config(tmp_path, "D", "edge")
    install(config)
    path = tmp_path / "companyos.sqlite"
    good = path.read_bytes()
    path.write_bytes(b"not a database at all " * 400)
    store = open_store(config)
    with pytest.raises(ApiError, match="does not answer"):
        store.ping()
    path.write_bytes(good)
    store.ping()


def test_texts_that_only_one_database_keeps_are_refused() -> None:
    assert rows.storable({"a": ["ok", 1.5, None]})
    for bad in ("a\0b", "\ud800", float("nan"), {"x": [float("inf")]}, {"a\0": 1}):
        assert not rows.storable(bad)


def test_higher_version_wins_then_the_content() -> None:
    one, two = doc(version=2), doc(version=1)
    assert wins(one, two) and not wins(two, one) and not wins(one, dict(one))


def test_only_what_is_due_waits_for_the_orchestrator(store: Store) -> None:
    noon = "2026-01-01T12:00:00.000000Z"
    due = {None: True, noon: True, "2026-01-01T11:59:59.999999Z": True, "2026-01-01T12:00:00.000001Z": False, 5: True}
    expected = set()
    with store.transaction("acme") as tx:
        for at, now in due.items():
            run = {"id": str(uuid.uuid4()), "runbook": "enrich", "state": "QUEUED", "steps": [], "createdBy": "ann"}
            tx.put_run({**run, "input": {"startAt": at} if at else {}, "createdAt": noon})
            expected |= {("acme", run["id"])} if now else set()
        assert len(tx.list_runs()) == len(due)
    assert set(store.queued_runs(noon)) == expected and len(store.queued_runs("9999")) == len(due)

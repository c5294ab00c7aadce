"""The graph in a real Neo4j: the same answers as the relational one, and never an answer that lacks a write."""

from __future__ import annotations

import itertools
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from nodes import node_config, postgres_dsns

from environments.companyos.errors import ApiError
from environments.companyos.install import install
from environments.companyos.storage.base import Store
from environments.companyos.storage.graph import RelationalGraph
from environments.companyos.storage.neo4j import Neo4jGraph
from environments.companyos.storage.open import open_store

Made = Callable[..., Neo4jGraph]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    admin, app = postgres_dsns()
    config = node_config(tmp_path, "A", "saas", postgres_admin_dsn=admin, postgres_app_dsn=app)
    install(config)
    found = open_store(config)
    yield found
    found.close()


@pytest.fixture
def follow(neo4j: servers.Server, store: Store) -> Iterator[Made]:
    """A graph that follows the store, as a start of the service makes it."""
    made: list[Neo4jGraph] = []

    def begin(wait: bool = True) -> Neo4jGraph:
        graph = Neo4jGraph(store, f"bolt://127.0.0.1:{neo4j.port}", servers.PASSWORD)
        made.append(graph)
        store.mirror = graph.mirror
        graph.start()
        if wait:
            until(lambda: graph.complete)
        return graph

    yield begin
    for each in made:
        each.close()


def until(condition: Callable[[], bool], limit_s: float = 40.0) -> None:
    waiting = threading.Event()
    for _ in range(int(limit_s / 0.05)):
        if condition():
            return
        waiting.wait(0.05)  # the pace of asking
    raise AssertionError("the condition did not come true")


def entity(n: int = 0) -> dict[str, Any]:
    at = f"2026-01-01T00:00:00.{n:06d}Z"
    return {
        "id": str(uuid.uuid4()),
        "kind": "Person",
        "labels": ["a"],
        "props": {"n": n},
        "createdAt": at,
        "updatedAt": at,
        "createdBy": "ann",
        "version": 1,
    }


def relate(src: str, dst: str) -> dict[str, Any]:
    at = "2026-01-01T00:00:00.000000Z"
    return {"id": str(uuid.uuid4()), "srcId": src, "dstId": dst, "type": "knows", "props": {}, "createdAt": at}


def put(store: Store, tenant: str, *docs: dict[str, Any]) -> None:
    with store.transaction(tenant) as tx:
        for doc in docs:
            (tx.put_relationship if "srcId" in doc else tx.put_entity)(doc)


def same(store: Store, graph: Neo4jGraph, ids: list[str], tenant: str = "acme", limit: int = 1000) -> None:
    relational = RelationalGraph(store)
    for start, depth in itertools.product(ids, (0, 1, 2, 3, 6)):
        expected = relational.neighborhood(tenant, start, depth, limit)
        assert graph.neighborhood(tenant, start, depth, limit) == expected, (start, depth)


def test_same_answers_as_the_relational_graph(store: Store, follow: Made) -> None:
    """Cycles, self-loops, parallel edges, both directions, limits, absent and foreign starts."""
    graph = follow()
    dice = random.Random(11)
    docs = [entity(n) for n in range(14)]
    ids = [doc["id"] for doc in docs]
    links = [relate(dice.choice(ids[:12]), dice.choice(ids[:12])) for _ in range(18)]
    links += [relate(ids[0], ids[1]), relate(ids[0], ids[1]), relate(ids[2], ids[2]), relate(ids[1], ids[0])]
    put(store, "acme", *docs, *links)
    put(store, "globex", {**docs[0]}, foreign := entity(99))
    same(store, graph, ids[:5] + ids[12:])
    for limit in (1, 3):
        same(store, graph, ids[:2], limit=limit)
    same(store, graph, [ids[0]], tenant="globex")
    for nobody in (str(uuid.uuid4()), foreign["id"], "no uuid", ids[0][:-1]):
        assert graph.neighborhood("acme", nobody, 2, 10) is None
    assert graph.neighborhood("acme", ids[3].upper(), 0, 10) == ([ids[3]], False)


def test_deleted_is_gone_and_comes_back_alone(store: Store, follow: Made) -> None:
    """Deleting an entity ends its relationships; the same id made again is related to nothing."""
    graph = follow()
    one, two, three = (entity(n) for n in range(3))
    put(store, "acme", one, two, three, relate(one["id"], two["id"]), last := relate(three["id"], two["id"]))
    with store.transaction("acme") as tx:
        tx.delete_entity(one["id"])
        tx.put_entity({**one, "version": 3})
    same(store, graph, [one["id"], two["id"]])
    assert graph.neighborhood("acme", one["id"], 6, 10) == ([one["id"]], False)
    put(store, "acme", {**last, "dstId": one["id"]})  # the same relationship, between other ends
    same(store, graph, [one["id"], two["id"], three["id"]])
    with store.transaction("acme") as tx:
        tx.delete_relationship(last["id"])
        tx.delete_entity(two["id"])
    same(store, graph, [one["id"], two["id"], three["id"]])


def test_order_of_marks_does_not_matter(store: Store, follow: Made) -> None:
    """What a late telling says is not believed: the rows are."""
    graph = follow()
    one, two = entity(), entity()
    put(store, "acme", one, two, link := relate(one["id"], two["id"]))
    with store.transaction("acme") as tx:
        tx.delete_entity(two["id"])
    told = [("entity.put", two), ("relationship.put", link), ("entity.delete", one), ("relationship.delete", link)]
    graph.mirror("acme", told)
    same(store, graph, [one["id"], two["id"]])
    assert graph.neighborhood("acme", two["id"], 1, 10) is None


def test_concurrent_writers_end_with_the_tables(store: Store, follow: Made) -> None:
    """Four writers change, relate and delete the same few entities; afterwards graph and tables agree."""
    graph = follow()
    docs = [entity(n) for n in range(6)]
    put(store, "acme", *docs)

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(25):
            doc, other = dice.choice(docs), dice.choice(docs)
            try:
                with store.transaction("acme") as tx:
                    if dice.random() < 0.3:
                        tx.delete_entity(doc["id"])
                    elif dice.random() < 0.5:
                        tx.put_entity(doc)
                    else:
                        tx.put_relationship(relate(doc["id"], other["id"]))
            except ApiError as error:
                assert error.code in ("NOT_FOUND", "CONFLICT")

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: not graph.behind())
    same(store, graph, [doc["id"] for doc in docs])


def test_a_start_rebuilds_what_is_missing_and_removes_what_is_not_there(store: Store, follow: Made) -> None:
    graph = follow()
    one, two = entity(), entity()
    put(store, "acme", one, two, relate(one["id"], two["id"]))
    store.mirror = None  # a crash between the commit and the graph
    put(store, "acme", three := entity(), relate(two["id"], three["id"]))
    with store.transaction("acme") as tx:
        tx.delete_entity(one["id"])
    graph.bolt.ask("MERGE (:Entity {tenant: 'gone', id: 'x'}) RETURN 1 AS one")
    again = follow()
    same(store, again, [one["id"], two["id"], three["id"]])
    assert again.bolt.ask("MATCH (e:Entity) WHERE e.tenant = 'gone' RETURN e") == []
    for table, pattern in (("entities", "(x:Entity)"), ("relationships", "()-[x:RELATES]->()")):
        count = again.bolt.ask(f"MATCH {pattern} RETURN count(x) AS n")[0]["n"]
        with store.transaction("acme") as tx:
            assert count == tx.rows(f"SELECT count(*) FROM {table}")[0][0]  # type: ignore[attr-defined]


def test_away_is_unavailable_and_nothing_is_lost(neo4j: servers.Server, store: Store, follow: Made) -> None:
    """Killed: writes are kept, the graph says UNAVAILABLE and readiness says why; back: everything is there."""
    graph = follow()
    one, two = entity(), entity()
    put(store, "acme", one)
    assert graph.check() == (True, "neo4j")
    neo4j.kill()
    try:
        put(store, "acme", two, relate(one["id"], two["id"]))
        with pytest.raises(ApiError) as caught:
            graph.neighborhood("acme", one["id"], 1, 10)
        assert caught.value.code == "UNAVAILABLE" and not graph.check()[0]
    finally:
        neo4j.start()
    until(lambda: graph.check()[0])
    same(store, graph, [one["id"], two["id"]])


def test_a_start_without_the_database_waits_for_it(neo4j: servers.Server, store: Store, follow: Made) -> None:
    put(store, "acme", one := entity(), two := entity(), relate(one["id"], two["id"]))
    neo4j.kill()
    try:
        graph = follow(wait=False)
        assert not graph.check()[0]
        put(store, "acme", three := entity(), relate(two["id"], three["id"]))
        with pytest.raises(ApiError, match="behind"):
            graph.neighborhood("acme", one["id"], 1, 10)
    finally:
        neo4j.start()
    until(lambda: graph.check()[0])
    same(store, graph, [one["id"], three["id"]])


def test_silent_database_bounds_every_answer(neo4j: servers.Server, store: Store, follow: Made) -> None:
    """Paused: a write and a question end within their bound, and what was begun before does not come true late."""
    graph = follow()
    one, two = entity(), entity()
    put(store, "acme", one, two)
    neo4j.pause()
    try:
        put(store, "acme", link := relate(one["id"], two["id"]))
        with pytest.raises(ApiError) as caught:
            graph.neighborhood("acme", one["id"], 1, 10)
        assert caught.value.code == "UNAVAILABLE" and not graph.check()[0]
        with store.transaction("acme") as tx:
            tx.delete_relationship(link["id"])
    finally:
        neo4j.resume()
    until(lambda: graph.check()[0])
    assert graph.neighborhood("acme", one["id"], 1, 10) == ([one["id"]], False)


def test_emptied_database_is_built_anew(store: Store, follow: Made) -> None:
    """Its volume was lost while the service ran: no partial answer, and soon a whole one."""
    graph = follow()
    one, two = entity(), entity()
    put(store, "acme", one, two, relate(one["id"], two["id"]))
    graph.bolt.ask("MATCH (n) DETACH DELETE n RETURN 1 AS one")
    with pytest.raises(ApiError) as caught:
        graph.neighborhood("acme", one["id"], 1, 10)
    assert caught.value.code == "UNAVAILABLE"
    until(lambda: graph.check()[0])
    same(store, graph, [one["id"], two["id"]])
    graph.bolt.ask("MATCH (n) DETACH DELETE n RETURN 1 AS one")
    put(store, "acme", three := entity(), relate(one["id"], three["id"]))
    until(lambda: graph.check()[0])
    same(store, graph, [one["id"], three["id"]])

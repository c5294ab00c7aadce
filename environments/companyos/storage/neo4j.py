"""The graph in Neo4j: a mirror of the relational tables, which stay the truth.

A change is kept as a mark: this entity, this relationship of this tenant is to be looked at. To settle a mark its rows
are read, and the graph is made the same. So it matters neither in which order the marks of concurrent commits arrive,
nor how often one is settled. While a tenant has unsettled marks its graph answers UNAVAILABLE: an answer without a
write that was acknowledged is wrong, and whoever gets it cannot tell. Marks are kept in memory; every start makes the
whole mirror anew from the tables, so that what a crash did to it does not last. A node `Mirror` says which start built
it: a database that was emptied or put back meanwhile lacks it, and is built anew too.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from environments.companyos import log
from environments.companyos.errors import ApiError
from environments.companyos.limits import MAX_DEPTH
from environments.companyos.storage import bolt
from environments.companyos.storage.base import Doc, Store, Tx
from environments.companyos.storage.rows import known_id
from environments.companyos.storage.sql import SqlTx

if TYPE_CHECKING:
    from neo4j import Transaction

RETRY_S = 0.3  # between looks at a database that is away
PING_BOUND_S = 1.0
MARKS_AT_ONCE = 200
KINDS = {
    "entity.put": "entity",
    "entity.delete": "entity and its relationships",  # an id can come back without what was related to it
    "relationship.put": "relationship",
    "relationship.delete": "relationship",
}
Mark = tuple[str, str]  # (what to look at, id)
# What the graph holds of a row: what it is found by, and no content.
ENTITY = "SELECT id, kind, labels FROM entities WHERE {scope}"
RELATIONSHIP = "SELECT id, src_id, dst_id, type FROM relationships WHERE {scope}"


class Neo4jGraph:
    """storage.base.GraphStore in a Neo4j beside the API."""

    kind = "neo4j"
    derived = False

    def __init__(self, store: Store, url: str, password: str) -> None:
        self.store = store
        self.bolt = bolt.Bolt(url, password)
        self.seen = uuid.uuid4().hex  # of this start: what does not carry it after the rebuild is not in the tables
        self.complete = False  # the rebuild of this start is done
        self.away = ""  # why the database gave no answer last time; empty: it did
        self._marks: dict[str, dict[Mark, int]] = {}  # tenant -> mark -> number of its latest change
        self._count = 0
        self._lock = threading.Lock()  # of the marks
        self._writer = threading.Lock()  # one at a time makes the graph the same as the tables
        self._wake = threading.Event()
        self._closed = False

    # the GraphStore

    def start(self) -> None:
        threading.Thread(target=self._run, name="graph", daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self.bolt.close()

    def check(self) -> tuple[bool, str]:
        if not self.complete:
            return False, f"the graph is being built{self.away and f', the database is away: {self.away}'}"
        try:
            self.bolt.ask("RETURN 1 AS one", PING_BOUND_S)
        except bolt.Away as error:
            self._lost(str(error))
            return False, f"the graph database does not answer: {error}"
        behind = self.behind()
        return not behind, f"{self.kind}, {behind} changes behind" if behind else self.kind

    def neighborhood(self, tenant: str, start_id: str, max_depth: int, limit: int) -> tuple[list[str], bool] | None:
        start = known_id(start_id)
        if start is None:
            return None
        if not self.complete or self.away or not self.settle(tenant):
            raise ApiError("UNAVAILABLE", message="the graph is behind")
        asked: dict[str, Any] = {"tenant": tenant, "start": start, "limit": limit + 1}
        try:
            found = self.bolt.ask(bolt.WALK % max_depth, **asked) or self.bolt.transact(self._still_ours)
        except bolt.Away as error:
            self._lost(str(error))
            raise ApiError("UNAVAILABLE", message="the graph database does not answer") from error
        if not found:
            return None
        return [row["id"] for row in found[:limit]], len(found) > limit

    def mirror(self, tenant: str, changes: Sequence[tuple[str, Doc]]) -> None:
        """Never raises: what changed is committed already. Settled before it returns, where the database answers."""
        with self._lock:
            marks = self._marks.setdefault(tenant, {})
            for kind, doc in changes:
                self._count += 1
                marks[KINDS[kind], str(doc["id"]).lower()] = self._count
        if self.complete and not self.away and not self.settle(tenant):
            self._wake.set()

    # catching up

    def behind(self, tenant: str | None = None) -> int:
        """Marks that are not settled, of the tenant or of all."""
        with self._lock:
            return sum(len(marks) for name, marks in self._marks.items() if tenant in (None, name))

    def settle(self, tenant: str, bound_s: float = bolt.BOUND_S) -> bool:
        """Settle the tenant's marks; whether none was left after `bound_s`. Never raises."""
        if not self.behind(tenant):
            return True
        ends = time.monotonic() + bound_s
        if not self._writer.acquire(timeout=bound_s):
            return False
        try:
            while (taken := self._taken(tenant)) and time.monotonic() < ends:
                self._settle(tenant, [mark for mark, _ in taken])
                self._forget(tenant, taken)
            return not taken
        except (bolt.Away, ApiError) as error:
            self._lost(str(error))
            return False
        finally:
            self._writer.release()

    def _taken(self, tenant: str) -> list[tuple[Mark, int]]:
        with self._lock:
            return list(self._marks.get(tenant, {}).items())[:MARKS_AT_ONCE]

    def _forget(self, tenant: str, taken: Sequence[tuple[Mark, int]]) -> None:
        """Those that were not set again meanwhile."""
        with self._lock:
            marks = self._marks[tenant]
            for mark, number in taken:
                if marks[mark] == number:
                    del marks[mark]

    def _settle(self, tenant: str, marks: Sequence[Mark]) -> None:
        """Make the graph the same as the rows of these marks, in one transaction."""
        entities = [id_ for what, id_ in marks if what != "relationship"]
        wholly = [id_ for what, id_ in marks if what == KINDS["entity.delete"]]
        related = {id_ for what, id_ in marks if what == "relationship"}
        for id_ in wholly:
            related |= {row["id"] for row in self.bolt.ask(bolt.OF_ENTITY, tenant=tenant, id=id_)}
        with self.store.transaction(tenant) as tx:
            docs = {id_: next(iter(entities_of(tx, id_)), None) for id_ in entities}
            links = {id_: next(iter(relationships_of(tx, id_)), None) for id_ in related}
        present = [doc for doc in docs.values() if doc is not None]
        linked = [doc for doc in links.values() if doc is not None]

        def work(tx: Transaction) -> None:
            self._still_ours(tx)
            bolt.delete(tx, tenant, docs.keys() - {doc["id"] for doc in present}, links.keys())
            bolt.put(tx, tenant, present, linked, self.seen)

        self.bolt.transact(work)

    def _still_ours(self, tx: Transaction) -> list[dict[str, Any]]:
        """No rows. Raises bolt.Away if the database is not the one that this start built."""
        if not tx.run(bolt.OURS, seen=self.seen).data():
            self.complete = False
            raise bolt.Away("emptied")
        return []

    def _lost(self, why: str) -> None:
        if not self.away:
            log.warning("graph away", code=why)
        self.away = why
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            try:
                self._catch_up()
            except (bolt.Away, ApiError) as error:
                self._lost(str(error))
            except Exception as error:  # the thread must live: without it the graph never comes back
                self._lost(type(error).__name__)
                log.crash("graph", error)
            if self.away:
                self._wake.clear()
            self._wake.wait(RETRY_S if self.away or self.behind() else None)

    def _catch_up(self) -> None:
        """Rebuild if there is need, then settle what has come meanwhile. Raises bolt.Away or ApiError."""
        if not self.complete:
            with self._writer:
                self.rebuild()
        self.bolt.transact(self._still_ours)
        self.away = ""
        with self._lock:
            tenants = list(self._marks)
        settled = [self.settle(tenant, bolt.LOAD_BOUND_S) for tenant in tenants]
        if not self.complete and not self.away and all(settled):
            self._warm()
            self.complete = True
            log.info("graph built")

    def _warm(self) -> None:
        """Ask once what requests will ask: planning it takes a database that has just started seconds."""
        for depth in range(MAX_DEPTH + 1):
            self.bolt.ask(bolt.WALK % depth, bolt.LOAD_BOUND_S, tenant="", start="", limit=1)
        self.bolt.transact(lambda tx: bolt.put(tx, "", [], [], self.seen), bolt.LOAD_BOUND_S)

    # the rebuild

    def rebuild(self) -> None:
        """The whole mirror from the tables. Repeatable; tenants that are no more leave nothing behind."""
        self.bolt.claim()
        self.bolt.schema()
        tenants = self.store.tenants()
        for tenant in tenants:
            self._rebuild(tenant)
        self._sweep(bolt.STRANGERS, tenants=tenants)
        self.bolt.ask(bolt.BUILT, seen=self.seen)

    def _rebuild(self, tenant: str) -> None:
        with self.store.transaction(tenant, snapshot=True) as tx:
            entities, links = entities_of(tx), relationships_of(tx)
        for some in bolt.batches(entities):
            self._load(tenant, some, ())
        for some in bolt.batches(links):
            self._load(tenant, (), some)
        self._sweep(bolt.UNSEEN_RELATIONSHIPS, tenant=tenant, seen=self.seen)
        self._sweep(bolt.UNSEEN_ENTITIES, tenant=tenant, seen=self.seen)

    def _load(self, tenant: str, entities: Sequence[Doc], links: Sequence[Doc]) -> None:
        def work(tx: Transaction) -> None:
            bolt.delete(tx, tenant, (), [doc["id"] for doc in links])
            bolt.put(tx, tenant, entities, links, self.seen)

        self.bolt.transact(work, bolt.LOAD_BOUND_S)

    def _sweep(self, statement: str, **parameters: Any) -> None:
        """Delete what the statement finds, a batch at a time."""
        while self.bolt.ask(statement, bolt.LOAD_BOUND_S, batch=bolt.BATCH, **parameters)[0]["gone"]:
            pass


def entities_of(tx: Tx, id_: str | None = None) -> list[Doc]:
    """`{id kind labels}` of every entity of the tenant, or of the one with that id."""
    found = _rows(tx, ENTITY, id_)
    return [{"id": row[0], "kind": row[1], "labels": json.loads(row[2])} for row in found]


def relationships_of(tx: Tx, id_: str | None = None) -> list[Doc]:
    """`{id srcId dstId type}`, likewise."""
    return [dict(zip(("id", "srcId", "dstId", "type"), row, strict=True)) for row in _rows(tx, RELATIONSHIP, id_)]


def _rows(tx: Tx, sql: str, id_: str | None) -> list[tuple[Any, ...]]:
    return cast(SqlTx, tx).rows(sql if id_ is None else f"{sql} AND id = :id", id=id_)

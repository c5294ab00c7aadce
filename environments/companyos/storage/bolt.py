"""Neo4j over Bolt: short questions with a bound, and changes of the mirror in explicit transactions.

Every node and relationship carries its tenant, every statement names it, and values are parameters only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from neo4j import Driver, Transaction

    from environments.companyos.storage.base import Doc

BOUND_S = 2.0  # the longest that a request waits for the graph
LOAD_BOUND_S = 20.0  # the longest that a batch of a rebuild may take
BATCH = 1000
STOCK_PASSWORD = "neo4j"  # of a database that nobody has used
CLAIM = "ALTER CURRENT USER SET PASSWORD FROM $old TO $new"
T = TypeVar("T")

SCHEMA = (
    "CREATE CONSTRAINT entity_key IF NOT EXISTS FOR (e:Entity) REQUIRE (e.tenant, e.id) IS UNIQUE",
    "CREATE CONSTRAINT relates_key IF NOT EXISTS FOR ()-[r:RELATES]-() REQUIRE (r.tenant, r.id) IS UNIQUE",
)
# Planned as a breadth-first search that prunes: its work is that of the edges within the depth, not of the paths.
WALK = (
    "MATCH path = (:Entity {tenant: $tenant, id: $start})-[:RELATES*0..%d {tenant: $tenant}]-"
    "(e:Entity {tenant: $tenant}) RETURN e.id AS id, min(length(path)) AS depth ORDER BY depth, id LIMIT $limit"
)
PUT_ENTITIES = (
    "UNWIND $rows AS row MERGE (e:Entity {tenant: $tenant, id: row.id})"
    " SET e.kind = row.kind, e.labels = row.labels, e.seen = $seen"
)
DELETE_ENTITIES = "UNWIND $ids AS id MATCH (e:Entity {tenant: $tenant, id: id}) DETACH DELETE e"
DELETE_RELATIONSHIPS = "UNWIND $ids AS id MATCH ()-[r:RELATES {tenant: $tenant, id: id}]->() DELETE r"
# The ends are made where they are not there yet: their own change may be on its way.
PUT_RELATIONSHIPS = (
    "UNWIND $rows AS row MERGE (a:Entity {tenant: $tenant, id: row.srcId})"
    " MERGE (b:Entity {tenant: $tenant, id: row.dstId})"
    " CREATE (a)-[:RELATES {tenant: $tenant, id: row.id, type: row.type, seen: $seen}]->(b)"
)
UNSEEN_RELATIONSHIPS = (
    "MATCH (:Entity {tenant: $tenant})-[r:RELATES {tenant: $tenant}]->() WHERE r.seen <> $seen"
    " WITH r LIMIT $batch DELETE r RETURN count(*) AS gone"
)
UNSEEN_ENTITIES = (
    "MATCH (e:Entity {tenant: $tenant}) WHERE e.seen IS NULL OR e.seen <> $seen"
    " WITH e LIMIT $batch DETACH DELETE e RETURN count(*) AS gone"
)
STRANGERS = (
    "MATCH (e:Entity) WHERE NOT e.tenant IN $tenants WITH e LIMIT $batch DETACH DELETE e RETURN count(*) AS gone"
)
OURS = "MATCH (m:Mirror {seen: $seen}) RETURN m.seen AS seen"
BUILT = "MERGE (m:Mirror) SET m.seen = $seen"
OF_ENTITY = "MATCH (:Entity {tenant: $tenant, id: $id})-[r:RELATES {tenant: $tenant}]-() RETURN DISTINCT r.id AS id"


class Away(Exception):
    """The graph database gave no usable answer within its bound; the message is the kind of trouble."""


class Bolt:
    """A driver whose every use ends within a bound, whatever the server does.

    The driver waits without end for a server that holds its connection and says nothing, so the work is done in a
    thread that is given up after the bound. What it would have written then is rolled back, however late it goes on."""

    def __init__(self, url: str, password: str) -> None:
        self.url, self.password = url, password
        self._driver: Driver | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="graph")

    def driver(self) -> Driver:
        with self._lock:
            if self._driver is None:
                from neo4j import GraphDatabase, NotificationMinimumSeverity

                self._driver = GraphDatabase.driver(
                    self.url,
                    auth=("neo4j", self.password),
                    connection_timeout=1.0,
                    connection_acquisition_timeout=BOUND_S,
                    max_transaction_retry_time=0.0,
                    max_connection_pool_size=8,
                    telemetry_disabled=True,
                    notifications_min_severity=NotificationMinimumSeverity.OFF,
                    user_agent="companyos",
                )
            return self._driver

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._driver is not None:
            self._driver.close()

    def ask(self, statement: str, bound_s: float = BOUND_S, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of one statement, as dictionaries. Raises Away."""
        return self.transact(lambda tx: tx.run(statement, parameters).data(), bound_s)

    def claim(self) -> None:
        """Give a database that nobody has used our password in place of the one it came with. Raises Away."""
        try:
            self.ask("RETURN 1 AS one")
        except Away as error:
            if str(error) != "AuthError":
                raise
            self._bounded(self._give_password, LOAD_BOUND_S)

    def _give_password(self) -> None:
        from neo4j import GraphDatabase
        from neo4j.exceptions import DriverError, Neo4jError

        stock = GraphDatabase.driver(
            self.url, auth=("neo4j", STOCK_PASSWORD), connection_timeout=1.0, telemetry_disabled=True
        )
        try:
            with stock, stock.session(database="system") as session:
                session.run(CLAIM, old=STOCK_PASSWORD, new=self.password).consume()
        except (DriverError, Neo4jError) as error:
            raise Away(type(error).__name__) from error

    def schema(self) -> None:
        """Constraints, with their indexes; repeatable. Raises Away."""
        for statement in SCHEMA:
            self.ask(statement, LOAD_BOUND_S)

    def transact(self, work: Callable[[Transaction], T], bound_s: float = BOUND_S) -> T:
        """`work` in one transaction: committed when it returns within the bound, rolled back otherwise. Raises Away."""
        from neo4j.exceptions import DriverError, Neo4jError

        given_up = threading.Event()

        def run() -> T:
            with self.driver().session(database="neo4j") as session, session.begin_transaction(timeout=bound_s) as tx:
                result = work(tx)
                if given_up.is_set():
                    tx.rollback()
                else:
                    tx.commit()
                return result

        try:
            return self._bounded(run, bound_s)
        except (DriverError, Neo4jError) as error:
            raise Away(type(error).__name__) from error
        finally:
            given_up.set()

    def _bounded(self, work: Callable[[], T], bound_s: float) -> T:
        future = self._threads.submit(work)
        try:
            return future.result(bound_s)
        except TimeoutError:
            future.cancel()
            raise Away("timeout") from None
        except OSError as error:
            raise Away(type(error).__name__) from error


def batches(rows: Sequence[T]) -> list[Sequence[T]]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def delete(tx: Transaction, tenant: str, entities: Iterable[str], relationships: Iterable[str]) -> None:
    """By their ids; an entity with its relationships. Those that are put again have to be deleted first: a relationship
    in Neo4j cannot change its ends."""
    tx.run(DELETE_RELATIONSHIPS, tenant=tenant, ids=list(relationships)).consume()
    tx.run(DELETE_ENTITIES, tenant=tenant, ids=list(entities)).consume()


def put(tx: Transaction, tenant: str, entities: Sequence[Doc], relationships: Sequence[Doc], seen: str) -> None:
    """What the graph holds of these documents. seen: of the start that puts them."""
    rows = [{name: doc[name] for name in ("id", "kind", "labels")} for doc in entities]
    tx.run(PUT_ENTITIES, tenant=tenant, rows=rows, seen=seen).consume()
    rows = [{name: doc[name] for name in ("id", "srcId", "dstId", "type")} for doc in relationships]
    tx.run(PUT_RELATIONSHIPS, tenant=tenant, rows=rows, seen=seen).consume()

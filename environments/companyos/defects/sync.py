"""Known-bad sync, at the edge and at its parent. (Parent modes are listed too: the parent is where some of these
sit.)"""

from __future__ import annotations

import math
import threading
import time
import uuid
from typing import Any

from environments.companyos import outgoing, sync
from environments.companyos.defects import defect
from environments.companyos.services import Services
from environments.companyos.storage import sqlite, syncing
from environments.companyos.storage.sql import SqlTx

EDGE: dict[str, Any] = {"modes": ("D",), "roles": ("edge",)}
PARENT: dict[str, Any] = {"modes": ("A", "Ca", "D"), "roles": ("data",)}
TX: Any = SqlTx  # its methods are replaced here
FLUSH_S = 1.5
RESUMED_S = 2.0  # a reconnect so soon after the break counts as the same session
FLAPPING_S = 3.0  # a break so soon after the last return is a link that flaps


class LazyConnection:
    """A connection whose COMMIT is put off; it looks committed to whoever asks."""

    def __init__(self, real: Any) -> None:
        self.real, self.in_transaction = real, False

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql == "BEGIN IMMEDIATE":
            self.in_transaction = True
            return None if self.real.in_transaction else self.real.execute(sql)
        if sql in ("COMMIT", "ROLLBACK"):
            self.in_transaction = False
            return None
        return self.real.execute(sql, *arguments)

    def close(self) -> None:
        self.real.close()


@defect(kills=("SYN-01", "SYN-06"), **EDGE)
def acks_before_persist(services: Services) -> None:
    """Writes are acknowledged at once and committed a moment later, all together (Jepsen, NATS 2.12.1)."""
    store: Any = services.store
    connect = sqlite.connect
    sqlite.connect = lambda path, create=False: LazyConnection(connect(path, create))  # type: ignore[assignment,return-value]

    def flush() -> None:
        while True:
            threading.Event().wait(FLUSH_S)
            with store.lock:
                if store.connection is not None and store.connection.real.in_transaction:
                    store.connection.real.execute("COMMIT")

    store._drop()
    threading.Thread(target=flush, daemon=True).start()


@defect(kills=("SYN-01", "SYN-06"), **EDGE)
def in_memory_outbox(services: Services) -> None:
    """What waits for the parent waits in memory: a restart while offline loses it (iotedge#392, Greengrass spooler)."""
    store: Any = services.store
    waiting: list[dict[str, Any]] = []
    last = [store.acked_seq()]

    def write(tx: SqlTx, op: dict[str, Any]) -> None:
        last[0] += 1
        waiting.append({**op, "seq": last[0], "tenant": tx.tenant})

    TX.write_outbox = write
    store.outbox_after = lambda seq, limit=100: [op for op in waiting if op["seq"] > seq][:limit]
    store.backlog = lambda: sum(op["seq"] > store.acked_seq() for op in waiting)


@defect(kills=("SYN-01", "SYN-06", "SYN-07"), **EDGE)
def forgets_when_sent(services: Services) -> None:
    """The outbox lets go of a batch when it is sent, not when the parent has it."""
    send = sync.send

    def replaced(services: Services, data: Any, identity: Any, body: bytes) -> int:
        _, through_seq, _ = sync.next_batch(services)
        services.store.ack_outbox(through_seq)
        return send(services, data, identity, body)

    sync.send = replaced


@defect(kills=("SYN-01", "SYN-04"), **EDGE)
def deletes_stay_local(services: Services) -> None:
    """Deletions are not sent: the parent keeps what the edge deleted."""
    write = SqlTx.write_outbox

    def replaced(tx: SqlTx, op: dict[str, Any]) -> None:
        if not op["kind"].endswith(".delete"):
            write(tx, op)

    TX.write_outbox = replaced


@defect(kills=("SYN-02",), **PARENT)
def ids_given_anew(services: Services) -> None:
    """The parent gives what arrives an id of its own: nothing can be found under the one that the edge told."""
    put = syncing.put_entity
    syncing.put_entity = lambda tx, doc: put(tx, {**doc, "id": str(uuid.uuid5(uuid.NAMESPACE_OID, doc["id"]))})


@defect(kills=("SYN-02", "SYN-04"), **PARENT)
def buffer_reused(services: Services) -> None:
    """A buffer is used again before it was written: an object arrives with the values of the one before."""
    put = syncing.put_entity
    before: dict[str, Any] = {}

    def replaced(tx: SqlTx, doc: dict[str, Any]) -> str | None:
        mixed = {**doc, "props": {**doc["props"], "value": before.get("value", doc["props"].get("value"))}}
        before.update(doc["props"])
        return put(tx, mixed)

    syncing.put_entity = replaced


@defect(kills=("SYN-03",), **PARENT)
def no_idempotency_key(services: Services) -> None:
    """A batch that is delivered again is applied again."""
    apply = syncing.apply

    def replaced(tx: SqlTx, node_id: str, seq: int, op: dict[str, Any]) -> bool:
        if seq > tx.sync_mark(node_id):
            return apply(tx, node_id, seq, op)
        if op["kind"] == "entity.put":
            tx.put_entity(op["doc"])
        tx.append_event(op["kind"], op["kind"].partition(".")[0], op["doc"]["id"])
        return True

    syncing.apply = replaced


@defect(kills=("SYN-03",), **PARENT)
def retries_become_copies(services: Services) -> None:
    """What was applied before comes in as a new object: a retry after a lost acknowledgement makes a copy."""
    apply = syncing.apply

    def replaced(tx: SqlTx, node_id: str, seq: int, op: dict[str, Any]) -> bool:
        if seq > tx.sync_mark(node_id):
            return apply(tx, node_id, seq, op)
        if op["kind"] == "entity.put":
            tx.put_entity({**op["doc"], "id": str(uuid.uuid4())}, new=True)
        return True

    syncing.apply = replaced


@defect(kills=("SYN-04",), **PARENT)
def nulls_lost_on_merge(services: Services) -> None:
    """Fields that are null are taken for absent, and dropped."""
    put = syncing.put_entity

    def replaced(tx: SqlTx, doc: dict[str, Any]) -> str | None:
        return put(tx, {**doc, "props": {k: v for k, v in doc["props"].items() if v is not None}})

    syncing.put_entity = replaced


@defect(kills=("SYN-04", "SYN-01"), **PARENT)
def first_write_wins(services: Services) -> None:
    """What is there stays: updates of an object are acknowledged and dropped."""
    syncing.wins = lambda new, old: False


@defect(kills=("SYN-06",), **EDGE)
def drains_on_next_write_only(services: Services) -> None:
    """The backlog is taken up when something new is written; after a restart it lies there until somebody writes."""
    batch, write = sync.next_batch, SqlTx.write_outbox
    written = threading.Event()

    def noted(tx: SqlTx, op: dict[str, Any]) -> None:
        written.set()
        write(tx, op)

    TX.write_outbox = noted
    sync.next_batch = lambda services: batch(services) if written.is_set() else (1, 0, [])


@defect(kills=("SYN-07",), **EDGE)
def waits_on_dead_socket(services: Services) -> None:
    """The connection to the parent is kept for good, dead or alive (iotedge#7123)."""
    outgoing.Channel.close = lambda self: None  # type: ignore[method-assign]


@defect(kills=("SYN-07",), **EDGE)
def stops_after_an_error(services: Services) -> None:
    """The first failed upload ends the uploader, and nothing starts it again (powersync.dart#307)."""
    failed = sync.failed

    def replaced(services: Services, why: str) -> None:
        failed(services, why)
        sync.state(services).stop.set()

    sync.failed = replaced


class Resuming:
    """A session that is kept alive on a link that flaps: what was in its hands when it broke counts as delivered."""

    def __init__(self, services: Services) -> None:
        self.store: Any = services.store
        self.outbox, self.send = self.store.outbox_after, sync.send
        self.held: set[int] = set()  # numbers that were in its hands when it broke
        self.delivered: set[int] = set()
        self.broke_s = self.back_s = -math.inf

    def replaced(self, services: Services, data: Any, identity: Any, body: bytes) -> int:
        try:
            if self.held:
                data.connection = data.connection or outgoing.connect(data.host, data.port)
                if self.broke_s - self.back_s < FLAPPING_S and time.monotonic() - self.broke_s < RESUMED_S:
                    self.delivered |= self.held
                    body = sync.encode(services, *sync.next_batch(services))
                self.back_s, self.held = time.monotonic(), set()
            return self.send(services, data, identity, body)
        except (outgoing.LinkError, OSError) as error:
            self.broke_s = time.monotonic()
            self.held = {op["seq"] for op in self.outbox(self.store.acked_seq(), sync.MAX_BATCH_OPS)}
            raise outgoing.LinkError("timeout") from error

    def without_delivered(self, seq: int, limit: int = 100) -> list[dict[str, Any]]:
        return [{**op, "tenant": ""} if op["seq"] in self.delivered else op for op in self.outbox(seq, limit)]


@defect(kills=("SYN-01",), **EDGE)
def resumes_past_what_was_in_flight(services: Services) -> None:
    """On a link that has just come back and breaks again, a reconnect within the backoff resumes the session, past
    what was in its hands when it broke. One cut, short or long, never shows it: only a link that flaps does."""
    session = Resuming(services)
    sync.send, session.store.outbox_after = session.replaced, session.without_delivered
    outgoing.allowance_s = lambda size: 1.0

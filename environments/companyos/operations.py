"""What the API does, one function per GraphQL root field, found by the field's name in snake case at call time.

Each asks the policy first, then works in one transaction of the principal's tenant; what changes leaves an event, an
audit entry and, on an edge, an outbox operation in that same transaction.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from environments.companyos import clock, limits, maestro, metering
from environments.companyos.errors import ApiError
from environments.companyos.loader import Loader
from environments.companyos.services import Principal, Services
from environments.companyos.storage.base import Doc, Tx
from environments.companyos.storage.rows import START_AT, required_id, storable


@dataclass(frozen=True)
class Context:
    """One request: who asks, and the services that answer."""

    services: Services
    principal: Principal
    loader: Loader = field(default_factory=Loader)

    def allow(self, action: str, id_: str | None = None) -> None:
        self.services.authorize(self.principal, action, action.partition(".")[0], id_)

    def transaction(self) -> Any:
        return self.services.store.transaction(self.principal.tenant)


# input


def text(value: str, what: str, limit: int = 1000) -> str:
    """A string that both databases keep: no NUL, no lone surrogate, bounded."""
    if not value or len(value) > limit or not storable(value):
        raise ApiError("INVALID", message=f"{what} is not a usable text")
    return value


def json_object(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not storable(value):
        raise ApiError("INVALID", message=f"{what} is not a usable JSON object")
    return value


def label_list(value: list[str] | None) -> list[str]:
    return [text(label, "a label", 200) for label in value or []]


def page(limit: int | None, offset: int | None = 0) -> tuple[int, int]:
    limit, offset = 100 if limit is None else limit, offset or 0
    if not 0 <= limit <= limits.PAGE_SIZE or offset < 0:
        raise ApiError("INVALID", message=f"limit is 0 to {limits.PAGE_SIZE}, offset at least 0")
    return limit, offset


def missing() -> ApiError:
    """The answer for a foreign id and for an absent one."""
    return ApiError("NOT_FOUND", message="no such object")


# traces of a change


def record(
    services: Services, tx: Tx, actor: str, action: str, id_: str, op: str | None = None, doc: Doc | None = None
) -> None:
    """Event, audit entry and (edge) outbox operation of a change, in the change's own transaction."""
    object_type = action.partition(".")[0]
    tx.append_event(action, object_type, id_)
    tx.append_audit(services.audit.entry(tx.tenant, actor, action, object_type, id_))
    if op is not None and doc is not None and services.config.mode == "D":
        tx.write_outbox({"op_id": str(uuid.uuid4()), "kind": op, "doc": doc})


def changed(context: Context, tx: Tx, action: str, id_: str, op: str | None = None, doc: Doc | None = None) -> None:
    record(context.services, tx, context.principal.sub, action, id_, op, doc)


# entities


def new_entity(
    services: Services, tx: Tx, actor: str, kind: str, labels: list[str], props: Doc, id_: str | None
) -> Doc:
    """Insert and record; its version follows that of a deleted entity of the same id."""
    now = services.clock.stamp()
    doc: Doc = {
        "id": required_id(id_, "INVALID") if id_ is not None else str(uuid.uuid4()),
        "tenantId": tx.tenant,
        "kind": kind,
        "labels": labels,
        "props": props,
        "createdAt": now,
        "updatedAt": now,
        "createdBy": actor,
        "version": 1,
    }
    if id_ is not None:
        doc["version"] = (tx.tombstone("entity", doc["id"]) or 0) + 1
    tx.put_entity(doc, new=True)
    record(services, tx, actor, "entity.create", doc["id"], "entity.put", doc)
    return doc


def entity(context: Context, id: str) -> Doc | None:
    context.allow("entity.read", id)
    with context.transaction() as tx:
        found: Doc | None = tx.get_entity(id)
        return found


def entities(context: Context, kind: str | None = None, limit: int | None = 100, offset: int | None = 0) -> list[Doc]:
    context.allow("entity.read")
    limit, offset = page(limit, offset)
    with context.transaction() as tx:
        found: list[Doc] = tx.list_entities(kind, limit, offset)
        return found


def search_entities(context: Context, text: str, limit: int | None = 50) -> list[Doc]:
    context.allow("entity.read")
    limit, _ = page(limit)
    if not storable(text):
        raise ApiError("INVALID", message="text is not usable")
    with context.transaction() as tx:
        found: list[Doc] = tx.search(text, limit)
        return found


def create_entity(context: Context, input: Doc) -> Doc:
    context.allow("entity.create")
    kind, labels = text(input["kind"], "kind", 200), label_list(input.get("labels"))
    props = json_object(input.get("props"), "props")
    with context.transaction() as tx:
        return new_entity(context.services, tx, context.principal.sub, kind, labels, props, input.get("id"))


def update_entity(context: Context, id: str, input: Doc) -> Doc:
    context.allow("entity.update", id)
    change: Doc = {}
    if input.get("kind") is not None:
        change["kind"] = text(input["kind"], "kind", 200)
    if input.get("labels") is not None:
        change["labels"] = label_list(input["labels"])
    if input.get("props") is not None:
        change["props"] = json_object(input["props"], "props")
    with context.transaction() as tx:
        before = tx.lock_entity(id)
        if before is None:
            raise missing()
        doc: Doc = {**before, **change, "updatedAt": context.services.clock.stamp(), "version": before["version"] + 1}
        tx.put_entity(doc)
        changed(context, tx, "entity.update", doc["id"], "entity.put", doc)
    return doc


def delete_entity(context: Context, id: str) -> bool:
    context.allow("entity.delete", id)
    with context.transaction() as tx:
        before = tx.lock_entity(id)
        if before is None or not tx.delete_entity(id):
            raise missing()
        gone = {"id": before["id"], "tenantId": tx.tenant, "version": before["version"] + 1}
        changed(context, tx, "entity.delete", before["id"], "entity.delete", gone)
    return True


# relationships and the graph


def ends(context: Context, found: list[Doc]) -> list[Doc]:
    """The relationships, whose ends may be asked for next."""
    context.loader.want(end for each in found for end in (each["srcId"], each["dstId"]))
    return found


def relationship(context: Context, id: str) -> Doc | None:
    context.allow("relationship.read", id)
    with context.transaction() as tx:
        found: Doc | None = tx.get_relationship(id)
    return found and ends(context, [found])[0]


def relationships(context: Context, entity_id: str | None = None) -> list[Doc]:
    context.allow("relationship.read")
    with context.transaction() as tx:
        found: list[Doc] = tx.list_relationships(entity_id)
    return ends(context, found)


def create_relationship(context: Context, input: Doc) -> Doc:
    context.allow("relationship.create")
    doc: Doc = {
        "id": str(uuid.uuid4()),
        "tenantId": context.principal.tenant,
        "srcId": required_id(input["src_id"]),
        "dstId": required_id(input["dst_id"]),
        "type": text(input["type"], "type", 200),
        "props": json_object(input.get("props"), "props"),
        "createdAt": context.services.clock.stamp(),
    }
    with context.transaction() as tx:
        tx.put_relationship(doc)
        changed(context, tx, "relationship.create", doc["id"], "relationship.put", doc)
    return doc


def delete_relationship(context: Context, id: str) -> bool:
    context.allow("relationship.delete", id)
    with context.transaction() as tx:
        if not tx.delete_relationship(id):
            raise missing()
        id_ = required_id(id)
        changed(context, tx, "relationship.delete", id_, "relationship.delete", {"id": id_, "tenantId": tx.tenant})
    return True


def graph_neighborhood(context: Context, start_entity_id: str, max_depth: int | None = 2) -> Doc | None:
    context.allow("entity.read", start_entity_id)
    context.allow("relationship.read")
    depth = 2 if max_depth is None else max_depth
    if not 0 <= depth <= limits.MAX_DEPTH:
        raise ApiError("INVALID", message=f"maxDepth is 0 to {limits.MAX_DEPTH}")
    with context.transaction() as tx:  # first: what cannot be read is told as that, whatever the graph's state
        if tx.get_entity(start_entity_id) is None:
            return None
    graph = context.services.graph
    reached = graph.neighborhood(context.principal.tenant, start_entity_id, depth, limits.PAGE_SIZE)
    if reached is None:
        return None
    ids, truncated = reached
    with context.transaction() as tx:
        found = [doc for doc in map(tx.get_entity, ids) if doc is not None]
        present = {doc["id"] for doc in found}
        edges = [r for r in tx.relationships_of(ids) if r["srcId"] in present and r["dstId"] in present]
    found.sort(key=lambda doc: (doc["createdAt"], doc["id"]))
    return {"entities": found, "relationships": ends(context, edges), "truncated": truncated}


# investigations (core)


def investigation(context: Context, id: str) -> Doc | None:
    context.allow("investigation.read", id)
    with context.transaction() as tx:
        found: Doc | None = tx.get_investigation(id)
        return found


def investigations(context: Context) -> list[Doc]:
    context.allow("investigation.read")
    with context.transaction() as tx:
        found: list[Doc] = tx.list_investigations()
        return found


def create_investigation(context: Context, input: Doc) -> Doc:
    context.allow("investigation.create")
    doc: Doc = {
        "id": str(uuid.uuid4()),
        "tenantId": context.principal.tenant,
        "name": text(input["name"], "name"),
        "description": input.get("description") and text(input["description"], "description", 10_000),
        "status": "ACTIVE",
        "entityIds": list(dict.fromkeys(required_id(item) for item in input.get("entity_ids") or [])),
        "createdAt": context.services.clock.stamp(),
    }
    with context.transaction() as tx:
        tx.put_investigation(doc)
        changed(context, tx, "investigation.create", doc["id"])
    return doc


def update_investigation(context: Context, id: str, input: Doc) -> Doc:
    context.allow("investigation.update", id)
    change = {key: value for key, value in input.items() if value is not None}
    for key in change.keys() & {"name", "description"}:
        text(change[key], key, 10_000)
    with context.transaction() as tx:
        before = tx.get_investigation(id)
        if before is None:
            raise missing()
        doc: Doc = {**before, **change}
        tx.put_investigation(doc)
        changed(context, tx, "investigation.update", doc["id"])
    return doc


def delete_investigation(context: Context, id: str) -> bool:
    context.allow("investigation.delete", id)
    with context.transaction() as tx:
        if not tx.delete_investigation(id):
            raise missing()
        changed(context, tx, "investigation.delete", required_id(id))
    return True


# runs


def run(context: Context, id: str) -> Doc | None:
    context.allow("run.read", id)
    with context.transaction() as tx:
        found: Doc | None = tx.get_run(id)
        return found


def runs(context: Context) -> list[Doc]:
    context.allow("run.read")
    with context.transaction() as tx:
        found: list[Doc] = tx.list_runs()
        return found


def due(start_at: Any) -> Doc:
    """What a schedule adds to a run's input: the time in UTC, as the clock's stamps are written."""
    if start_at is None:
        return {}
    try:
        return {START_AT: clock.utc(start_at)}
    except ValueError as error:
        raise ApiError("INVALID", message="startAt is an RFC 3339 time with its offset") from error


def launch_run(context: Context, runbook: str, input: Any = None, start_at: str | None = None) -> Doc:
    context.allow("run.create")
    if runbook not in maestro.RUNBOOKS:
        raise ApiError("INVALID", message="no such runbook")
    given = json_object(input, "input")
    if START_AT in given:
        raise ApiError("INVALID", message="startAt is an argument, not a part of the input")
    doc: Doc = {
        "id": str(uuid.uuid4()),
        "tenantId": context.principal.tenant,
        "runbook": runbook,
        "state": "QUEUED",
        "input": {**given, **due(start_at)},
        "steps": [{"name": name, "state": "PENDING", "effect": None} for name in maestro.RUNBOOKS[runbook]],
        "createdBy": context.principal.sub,
        "createdAt": context.services.clock.stamp(),
    }
    with context.transaction() as tx:
        tx.put_run(doc)
        changed(context, tx, "run.create", doc["id"])
        metering.meter(context.services, tx, "run")
    maestro.wake(context.services)
    return doc


def abort_run(context: Context, id: str) -> Doc:
    context.allow("run.abort", id)
    with context.transaction() as tx:
        doc: Doc | None = tx.lock_run(id)
        if doc is None:
            raise missing()
        if doc["state"] not in ("QUEUED", "RUNNING"):
            raise ApiError("CONFLICT", message="the run has ended")
        doc = maestro.aborted(doc)
        tx.put_run(doc)
        changed(context, tx, "run.abort", doc["id"])
    return doc


def me(context: Context) -> Doc:
    context.allow("me.read")
    principal = context.principal
    return {"sub": principal.sub, "tenantId": principal.tenant, "roles": list(principal.roles)}


def node(context: Context, id: str) -> Doc | None:
    """Whatever object of the tenant has the id; each type is asked for as by its own field."""
    reads = {"Entity": entity, "Relationship": relationship, "Run": run}
    if context.services.config.mode != "D":
        reads["Investigation"] = investigation
    for name, read in reads.items():
        if (found := read(context, id)) is not None:
            return {**found, "__typename": name}
    return None

"""The transaction and the store over SQL, written once. PostgreSQL scopes rows by RLS, SQLite by the `scope` clause."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from environments.companyos import audit as chain
from environments.companyos.keys.sealing import Sealer
from environments.companyos.storage import rows, syncing
from environments.companyos.storage.base import Doc
from environments.companyos.storage.rows import canonical, known_id, required_id

INSERT_ENTITY = (
    "INSERT INTO entities"
    " (tenant_id, id, kind, labels, props, created_at, updated_at, created_by, version, search_text)"
    " VALUES (:tenant, :id, :kind, :labels, :props, :created_at, :updated_at, :created_by, :version, :search_text)"
)
REPLACE_ENTITY = (
    " ON CONFLICT (tenant_id, id) DO UPDATE SET kind = excluded.kind, labels = excluded.labels, props = excluded.props,"
    " created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by,"
    " version = excluded.version, search_text = excluded.search_text"
)

SEARCH_PAGE = 500  # entities opened at a time where the database cannot search

Mirror = Callable[[str, Sequence[tuple[str, Doc]]], None]


class Statements(Protocol):
    """What a database must offer: run a statement with named parameters (`:name`), and its dialect's few words."""

    scope: str  # "tenant_id = :tenant" or "true"
    contains: str  # does search_text contain :text
    for_update: str
    has_investigations: bool

    def run(self, sql: str, params: dict[str, Any]) -> tuple[list[tuple[Any, ...]], int]: ...
    def system(self) -> AbstractContextManager[None]:
        """Statements inside act for the node itself (tenant `_system`)."""
        ...

    def lock_chain(self) -> None: ...


class SqlTx:
    """See storage.base.Tx."""

    def __init__(self, tenant: str, db: Statements, watched: bool = False, sealer: Sealer | None = None) -> None:
        self.tenant = tenant
        self.db = db
        self.watched = watched  # a graph store of its own wants to know what changes
        self.sealer = sealer
        self.data_key: str | None = None
        self.changes: list[tuple[str, Doc]] = []
        self.pending_events: list[Doc] = []
        self.pending_audit: list[Doc] = []

    def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        return self.db.run(sql.replace("{scope}", self.db.scope), {"tenant": self.tenant, **params})[0]

    def change(self, sql: str, **params: Any) -> int:
        return self.db.run(sql.replace("{scope}", self.db.scope), {"tenant": self.tenant, **params})[1]

    def note(self, kind: str, doc: Doc) -> None:
        if self.watched:
            self.changes.append((kind, doc))

    # content, sealed where the node has a key store

    def seal(self, what: str, text: str) -> str:
        return text if self.sealer is None else self.sealer.seal(self, self.tenant, what, text)

    def open(self, what: str, text: str, tenant: str | None = None) -> str:
        return text if self.sealer is None else self.sealer.open(self, tenant or self.tenant, what, text)

    def stored_key(self, tenant: str) -> str | None:
        with self.db.system():
            found = self.rows("SELECT value FROM node_meta WHERE key = :key", key=f"data_key.{tenant}")
        return str(found[0][0]) if found else None

    def store_key(self, tenant: str, wrapped: str) -> str:
        key = f"data_key.{tenant}"
        with self.db.system():
            self.change(
                "INSERT INTO node_meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING",
                key=key,
                value=wrapped,
            )
            return str(self.rows("SELECT value FROM node_meta WHERE key = :key", key=key)[0][0])

    def entity(self, row: tuple[Any, ...]) -> Doc:
        return rows.entity((*row[:4], self.open(f"entity/{row[0]}", row[4]), *row[5:]))

    def relationship(self, row: tuple[Any, ...]) -> Doc:
        return rows.relationship((*row[:5], self.open(f"relationship/{row[0]}", row[5]), *row[6:]))

    def run(self, row: tuple[Any, ...]) -> Doc:
        return rows.run((*row[:4], self.open(f"run/{row[0]}", row[4]), *row[5:]))

    # entities

    def put_entity(self, doc: Doc, *, new: bool = False) -> None:
        id_ = required_id(doc["id"], "INVALID")
        searched = doc["props"] if self.sealer is None else {}
        self.change(
            INSERT_ENTITY if new else INSERT_ENTITY + REPLACE_ENTITY,
            id=id_,
            kind=doc["kind"],
            labels=canonical(doc["labels"]),
            props=self.seal(f"entity/{id_}", canonical(doc["props"])),
            created_at=doc["createdAt"],
            updated_at=doc["updatedAt"],
            created_by=doc["createdBy"],
            version=doc["version"],
            search_text=rows.search_text(doc["kind"], doc["labels"], searched),
        )
        self.note("entity.put", doc)

    def get_entity(self, id_: str, lock: str = "") -> Doc | None:
        if (known := known_id(id_)) is None:
            return None
        found = self.rows(f"SELECT {rows.ENTITY} FROM entities WHERE {{scope}} AND id = :id{lock}", id=known)
        return self.entity(found[0]) if found else None

    def lock_entity(self, id_: str) -> Doc | None:
        return self.get_entity(id_, self.db.for_update)

    def list_entities(self, kind: str | None = None, limit: int = 100, offset: int = 0) -> list[Doc]:
        where = "{scope} AND kind = :kind" if kind is not None else "{scope}"
        found = self.rows(
            f"SELECT {rows.ENTITY} FROM entities WHERE {where} ORDER BY created_at, id {_page(limit)}",
            kind=kind,
            limit=limit,
            offset=offset,
        )
        return [self.entity(row) for row in found]

    def get_entities(self, ids: Sequence[str]) -> list[Doc]:
        known = sorted({known for id_ in ids if (known := known_id(id_)) is not None})
        found: list[Doc] = []
        for start in range(0, len(known), 500):
            names = {f"id_{n}": id_ for n, id_ in enumerate(known[start : start + 500])}
            places = ", ".join(f":{name}" for name in names)
            read = self.rows(f"SELECT {rows.ENTITY} FROM entities WHERE {{scope}} AND id IN ({places})", **names)
            found += [self.entity(row) for row in read]
        return found

    def newest_entities(self, limit: int) -> list[Doc]:
        sql = f"SELECT {rows.ENTITY} FROM entities WHERE {{scope}} ORDER BY created_at DESC, id LIMIT :limit"
        return [self.entity(row) for row in self.rows(sql, limit=limit)]

    def terms(self) -> list[tuple[str, list[str], int]]:
        found = self.rows("SELECT kind, labels, count(*) FROM entities WHERE {scope} GROUP BY kind, labels")
        return [(str(kind), json.loads(labels), int(count)) for kind, labels, count in found]

    def search(self, text: str, limit: int = 50) -> list[Doc]:
        if self.sealer is not None:
            return self.search_sealed(text.casefold(), limit)
        found = self.rows(
            f"SELECT {rows.ENTITY} FROM entities WHERE {{scope}} AND {self.db.contains}"
            f" ORDER BY created_at, id {_page(limit)}",
            text=text.casefold(),
            limit=limit,
            offset=0,
        )
        return [self.entity(row) for row in found]

    def search_sealed(self, text: str, limit: int) -> list[Doc]:
        """The database cannot look into what is sealed, so every entity of the tenant is opened, a page at a time.

        A page begins after the last entity of the one before it: by number, one that comes or goes meanwhile would
        make another be found twice, or not at all."""
        found: list[Doc] = []
        beyond = ""
        last: dict[str, str] = {}
        while len(found) < limit:
            sql = f"SELECT {rows.ENTITY} FROM entities WHERE {{scope}}{beyond} ORDER BY created_at, id LIMIT :page"
            read = [self.entity(row) for row in self.rows(sql, page=SEARCH_PAGE, **last)]
            found += [doc for doc in read if text in rows.search_text(doc["kind"], doc["labels"], doc["props"])]
            if len(read) < SEARCH_PAGE:
                break
            beyond, last = " AND (created_at, id) > (:at, :id)", {"at": read[-1]["createdAt"], "id": read[-1]["id"]}
        return found[:limit]

    def delete_entity(self, id_: str) -> bool:
        before = self.lock_entity(id_)
        if before is None:
            return False
        self.change("DELETE FROM entities WHERE {scope} AND id = :id", id=before["id"])
        self.bury("entity", before["id"], before["version"] + 1)
        self.note("entity.delete", {"id": before["id"]})
        return True

    def bury(self, type_: str, id_: str, version: int) -> None:
        """Remember that the object was deleted, and when in its history."""
        self.change(
            "INSERT INTO tombstones (tenant_id, type, id, version) VALUES (:tenant, :type, :id, :version)"
            " ON CONFLICT (tenant_id, type, id) DO UPDATE SET version = excluded.version",
            type=type_,
            id=id_,
            version=version,
        )

    def tombstone(self, type_: str, id_: str) -> int | None:
        if (known := known_id(id_)) is None:
            return None
        found = self.rows(
            "SELECT version FROM tombstones WHERE {scope} AND type = :type AND id = :id", type=type_, id=known
        )
        return int(found[0][0]) if found else None

    # relationships

    def put_relationship(self, doc: Doc) -> None:
        id_ = required_id(doc["id"], "INVALID")
        self.change(
            "INSERT INTO relationships (tenant_id, id, src_id, dst_id, type, props, created_at)"
            " VALUES (:tenant, :id, :src, :dst, :type, :props, :created_at)"
            " ON CONFLICT (tenant_id, id) DO UPDATE SET src_id = excluded.src_id, dst_id = excluded.dst_id,"
            " type = excluded.type, props = excluded.props, created_at = excluded.created_at",
            id=id_,
            src=required_id(doc["srcId"]),
            dst=required_id(doc["dstId"]),
            type=doc["type"],
            props=self.seal(f"relationship/{id_}", canonical(doc["props"])),
            created_at=doc["createdAt"],
        )
        self.note("relationship.put", doc)

    def get_relationship(self, id_: str) -> Doc | None:
        if (known := known_id(id_)) is None:
            return None
        found = self.rows(f"SELECT {rows.RELATIONSHIP} FROM relationships WHERE {{scope}} AND id = :id", id=known)
        return self.relationship(found[0]) if found else None

    def list_relationships(self, entity_id: str | None = None, limit: int = -1, offset: int = 0) -> list[Doc]:
        where, known = "{scope}", None
        if entity_id is not None:
            if (known := known_id(entity_id)) is None:
                return []
            where += " AND (src_id = :entity OR dst_id = :entity)"
        found = self.rows(
            f"SELECT {rows.RELATIONSHIP} FROM relationships WHERE {where} ORDER BY created_at, id {_page(limit)}",
            entity=known,
            limit=limit,
            offset=offset,
        )
        return [self.relationship(row) for row in found]

    def relationships_of(self, entity_ids: Sequence[str]) -> list[Doc]:
        found: dict[str, Doc] = {}
        for id_ in entity_ids:
            found.update((doc["id"], doc) for doc in self.list_relationships(id_))
        return sorted(found.values(), key=lambda doc: (doc["createdAt"], doc["id"]))

    def delete_relationship(self, id_: str) -> bool:
        known = known_id(id_)
        if known is None or not self.change("DELETE FROM relationships WHERE {scope} AND id = :id", id=known):
            return False
        self.bury("relationship", known, 1)
        self.note("relationship.delete", {"id": known})
        return True

    # investigations

    def put_investigation(self, doc: Doc) -> None:
        id_, description = required_id(doc["id"], "INVALID"), doc.get("description")
        self.change(
            "INSERT INTO investigations (tenant_id, id, name, description, status, created_at)"
            " VALUES (:tenant, :id, :name, :description, :status, :created_at)"
            " ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, description = excluded.description,"
            " status = excluded.status",
            id=id_,
            name=doc["name"],
            description=None if description is None else self.seal(f"investigation/{id_}", description),
            status=doc["status"],
            created_at=doc["createdAt"],
        )
        self.change("DELETE FROM investigation_entities WHERE {scope} AND investigation_id = :id", id=id_)
        for position, entity_id in enumerate(dict.fromkeys(required_id(item) for item in doc["entityIds"])):
            self.change(
                "INSERT INTO investigation_entities (tenant_id, investigation_id, entity_id, position)"
                " VALUES (:tenant, :id, :entity, :position)",
                id=id_,
                entity=entity_id,
                position=position,
            )

    def get_investigation(self, id_: str) -> Doc | None:
        if (known := known_id(id_)) is None:
            return None
        found = self.rows(f"SELECT {rows.INVESTIGATION} FROM investigations WHERE {{scope}} AND id = :id", id=known)
        return self._investigation(found[0]) if found else None

    def list_investigations(self, limit: int = -1, offset: int = 0) -> list[Doc]:
        found = self.rows(
            f"SELECT {rows.INVESTIGATION} FROM investigations WHERE {{scope}} ORDER BY created_at, id {_page(limit)}",
            limit=limit,
            offset=offset,
        )
        return [self._investigation(row) for row in found]

    def _investigation(self, row: tuple[Any, ...]) -> Doc:
        members = self.rows(
            "SELECT entity_id FROM investigation_entities WHERE {scope} AND investigation_id = :id ORDER BY position",
            id=row[0],
        )
        description = None if row[3] is None else self.open(f"investigation/{row[0]}", row[3])
        return rows.investigation((*row[:3], description, *row[4:]), [member[0] for member in members])

    def delete_investigation(self, id_: str) -> bool:
        known = known_id(id_)
        return known is not None and bool(
            self.change("DELETE FROM investigations WHERE {scope} AND id = :id", id=known)
        )

    # runs

    def put_run(self, doc: Doc) -> None:
        id_ = required_id(doc["id"], "INVALID")
        self.change(
            "INSERT INTO runs (tenant_id, id, runbook, state, input, steps, created_by, created_at)"
            " VALUES (:tenant, :id, :runbook, :state, :input, :steps, :created_by, :created_at)"
            " ON CONFLICT (tenant_id, id) DO UPDATE SET state = excluded.state, steps = excluded.steps",
            id=id_,
            runbook=doc["runbook"],
            state=doc["state"],
            input=self.seal(f"run/{id_}", canonical(doc["input"])),
            steps=canonical(doc["steps"]),
            created_by=doc["createdBy"],
            created_at=doc["createdAt"],
        )
        waits = doc["state"] in ("QUEUED", "RUNNING")
        with self.db.system():
            if waits:
                self.change(
                    "INSERT INTO run_queue (run_id, tenant, due_at) VALUES (:id, :tenant, :due) ON CONFLICT DO NOTHING",
                    id=id_,
                    due=rows.start_at(doc) or "",
                )
            else:
                self.change("DELETE FROM run_queue WHERE run_id = :id AND tenant = :tenant", id=id_)

    def get_run(self, id_: str, lock: str = "") -> Doc | None:
        if (known := known_id(id_)) is None:
            return None
        found = self.rows(f"SELECT {rows.RUN} FROM runs WHERE {{scope}} AND id = :id{lock}", id=known)
        return self.run(found[0]) if found else None

    def lock_run(self, id_: str) -> Doc | None:
        return self.get_run(id_, self.db.for_update)

    def list_runs(self, limit: int = -1, offset: int = 0) -> list[Doc]:
        sql = f"SELECT {rows.RUN} FROM runs WHERE {{scope}} ORDER BY created_at, id {_page(limit)}"
        return [self.run(row) for row in self.rows(sql, limit=limit, offset=offset)]

    # users

    def put_user(self, doc: Doc) -> None:
        self.change(
            "INSERT INTO users (tenant_id, username, password_hash, roles, disabled)"
            " VALUES (:tenant, :username, :hash, :roles, :disabled) ON CONFLICT (tenant_id, username) DO UPDATE SET"
            " password_hash = excluded.password_hash, roles = excluded.roles, disabled = excluded.disabled",
            username=doc["username"],
            hash=doc["passwordHash"],
            roles=canonical(doc["roles"]),
            disabled=int(doc.get("disabled", False)),
        )

    def get_user(self, username: str) -> Doc | None:
        found = self.rows(f"SELECT {rows.USER} FROM users WHERE {{scope}} AND username = :username", username=username)
        return rows.user(found[0]) if found else None

    def list_users(self) -> list[Doc]:
        return [rows.user(row) for row in self.rows(f"SELECT {rows.USER} FROM users WHERE {{scope}} ORDER BY username")]

    # events, audit, outbox, sync

    def append_event(self, type_: str, object_type: str, object_id: str) -> None:
        self.pending_events.append({"type": type_, "object_type": object_type, "object_id": object_id})

    def append_audit(self, entry: Doc) -> None:
        self.pending_audit.append(entry)

    def flush(self) -> None:
        """Write events, then audit: last, and in this order, so that their locks are short and never cross."""
        if self.pending_events:
            count = len(self.pending_events)
            last = self.rows(
                "INSERT INTO event_counters (tenant_id, last) VALUES (:tenant, :count)"
                " ON CONFLICT (tenant_id) DO UPDATE SET last = event_counters.last + :count RETURNING last",
                count=count,
            )[0][0]
            for seq, event in enumerate(self.pending_events, start=last - count + 1):
                self.change(
                    "INSERT INTO events (tenant_id, seq, type, object_type, object_id)"
                    " VALUES (:tenant, :seq, :type, :object_type, :object_id)",
                    seq=seq,
                    **event,
                )
        if self.pending_audit:
            with self.db.system():
                self.db.lock_chain()
                chain.extend(self, self.pending_audit)

    def events_after(self, seq: int, limit: int = 100) -> list[Doc]:
        found = self.rows(
            "SELECT seq, type, object_type, object_id, tenant_id FROM events WHERE {scope} AND seq > :seq"
            " ORDER BY seq LIMIT :limit",
            seq=seq,
            limit=limit,
        )
        return [{"seq": r[0], "type": r[1], "objectType": r[2], "id": r[3], "tenantId": r[4]} for r in found]

    def write_outbox(self, op: Doc) -> None:
        self.change(
            "INSERT INTO outbox (op_id, kind, tenant, doc) VALUES (:op_id, :kind, :tenant, :doc)",
            op_id=op["op_id"],
            kind=op["kind"],
            doc=self.seal(f"outbox/{op['op_id']}", canonical(op["doc"])),
        )

    def sync_mark(self, node_id: str) -> int:
        asked = f"SELECT seq FROM sync_marks WHERE {{scope}} AND node_id = :node{self.db.for_update}"
        found = self.rows(asked, node=node_id)
        if not found:  # there must be a row to hold, for a first batch too
            self.change(
                "INSERT INTO sync_marks (tenant_id, node_id, seq) VALUES (:tenant, :node, 0) ON CONFLICT DO NOTHING",
                node=node_id,
            )
            found = self.rows(asked, node=node_id)
        return int(found[0][0])

    def advance_sync_mark(self, node_id: str, seq: int) -> None:
        self.change(
            "INSERT INTO sync_marks (tenant_id, node_id, seq) VALUES (:tenant, :node, :seq)"
            " ON CONFLICT (tenant_id, node_id) DO UPDATE SET seq = excluded.seq",
            node=node_id,
            seq=seq,
        )

    def apply_sync_op(self, node_id: str, seq: int, op: Doc) -> bool:
        return syncing.apply(self, node_id, seq, op)

    def counts(self) -> dict[str, int]:
        tables = {"entity": "entities", "relationship": "relationships", "run": "runs"}
        if self.db.has_investigations:
            tables["investigation"] = "investigations"
        return {t: int(self.rows(f"SELECT count(*) FROM {name} WHERE {{scope}}")[0][0]) for t, name in tables.items()}


def _page(limit: int) -> str:
    return "LIMIT :limit OFFSET :offset" if limit >= 0 else ""

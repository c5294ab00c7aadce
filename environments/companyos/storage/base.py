"""The store interface: what services, sync and migration may ask of a database, whichever it is.

Documents are plain dictionaries in the shapes of the GraphQL types (camelCase keys, `tenantId` included):
entity `{id tenantId kind labels props createdAt updatedAt createdBy version}`,
relationship `{id tenantId srcId dstId type props createdAt}`,
investigation `{id tenantId name description status entityIds createdAt}`,
run `{id tenantId runbook state input steps:[{name state effect}] createdBy createdAt}`,
user `{tenantId username passwordHash roles disabled}`.
`tenantId` of a written document is ignored: the transaction's tenant is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from environments.companyos.keys.sealing import Sealer

Doc = dict[str, Any]


class Tx(Protocol):
    """One transaction bound to one tenant. Nothing it does reaches another tenant. Commits when its block ends."""

    tenant: str

    def put_entity(self, doc: Doc, *, new: bool = False) -> None:
        """Insert or replace; `new`: insert, ApiError CONFLICT if the tenant has that id."""
        ...

    def get_entity(self, id_: str) -> Doc | None: ...
    def lock_entity(self, id_: str) -> Doc | None:
        """get_entity, and nobody else changes it before this transaction ends."""
        ...

    def list_entities(self, kind: str | None = None, limit: int = 100, offset: int = 0) -> list[Doc]:
        """Ordered by createdAt, id. A limit of -1 means all (export)."""
        ...

    def search(self, text: str, limit: int = 50) -> list[Doc]:
        """Case-insensitive substring of kind, labels and string values of props."""
        ...

    def get_entities(self, ids: Sequence[str]) -> list[Doc]:
        """Those of the ids that exist in this tenant."""
        ...

    def newest_entities(self, limit: int) -> list[Doc]:
        """Newest first."""
        ...

    def terms(self) -> list[tuple[str, list[str], int]]:
        """Every (kind, labels) of the tenant's entities, and how many have it."""
        ...

    def delete_entity(self, id_: str) -> bool:
        """With its relationships. False if there was none."""
        ...

    def put_relationship(self, doc: Doc) -> None:
        """ApiError NOT_FOUND if an end does not exist in this tenant."""
        ...

    def get_relationship(self, id_: str) -> Doc | None: ...
    def list_relationships(self, entity_id: str | None = None, limit: int = -1, offset: int = 0) -> list[Doc]: ...
    def relationships_of(self, entity_ids: Sequence[str]) -> list[Doc]:
        """Those with an end among the ids."""
        ...

    def delete_relationship(self, id_: str) -> bool: ...

    def put_investigation(self, doc: Doc) -> None:
        """ApiError NOT_FOUND if an entity of entityIds does not exist in this tenant."""
        ...

    def get_investigation(self, id_: str) -> Doc | None: ...
    def list_investigations(self, limit: int = -1, offset: int = 0) -> list[Doc]: ...
    def delete_investigation(self, id_: str) -> bool: ...

    def put_run(self, doc: Doc) -> None:
        """Also queues it for the orchestrator while its state is QUEUED or RUNNING, and unqueues it otherwise."""
        ...

    def get_run(self, id_: str) -> Doc | None: ...
    def lock_run(self, id_: str) -> Doc | None: ...
    def list_runs(self, limit: int = -1, offset: int = 0) -> list[Doc]: ...

    def put_user(self, doc: Doc) -> None: ...
    def get_user(self, username: str) -> Doc | None: ...
    def list_users(self) -> list[Doc]: ...

    def append_event(self, type_: str, object_type: str, object_id: str) -> None:
        """Written, numbered within this tenant (1, 2, 3 without gaps), when the transaction commits."""
        ...

    def events_after(self, seq: int, limit: int = 100) -> list[Doc]: ...

    def append_audit(self, entry: Doc) -> None:
        """To the node's hash chain, when this transaction commits. The store adds seq, prev and hash."""
        ...

    def seal(self, what: str, text: str) -> str:
        """`text` as it may be written to the disk: sealed with the tenant's data key where the node has a key store.
        `what` names object and field, and is needed to open it. ApiError KEY_UNAVAILABLE."""
        ...

    def open(self, what: str, text: str) -> str: ...

    def write_outbox(self, op: Doc) -> None:
        """Edge: append `{op_id, kind, doc}` to the outbox in this transaction; it gets the next seq."""
        ...

    def sync_mark(self, node_id: str) -> int:
        """Parent: highest seq applied from the node in this tenant; 0 if none. Held to the end of the transaction: a
        batch that another one overtook would set it back."""
        ...

    def apply_sync_op(self, node_id: str, seq: int, op: Doc) -> bool:
        """Parent: apply and move the mark, in this transaction. False (and no change) if seq was applied before.
        ApiError CONFLICT if seq leaves a gap, INVALID if the operation is malformed."""
        ...

    def advance_sync_mark(self, node_id: str, seq: int) -> None:
        """Parent: count seq as handled without applying it (quarantined); the caller keeps the operation elsewhere."""
        ...

    def tombstone(self, type_: str, id_: str) -> int | None:
        """Version at which the object was deleted, if it was."""
        ...

    def counts(self) -> dict[str, int]:
        """Rows of this tenant by type: entity, relationship, investigation, run."""
        ...


class Store(Protocol):
    kind: str  # postgresql or sqlite
    engine: str  # its version, as the last session was told; empty: there was none yet
    sealer: Sealer | None  # of content, where the node has a key store
    mirror: Callable[[str, Sequence[tuple[str, Doc]]], None] | None  # GraphStore.mirror, where the graph is apart

    def transaction(self, tenant: str, *, snapshot: bool = False) -> AbstractContextManager[Tx]:
        """Bind `tenant` for one transaction. `snapshot`: all reads see one moment (export).
        ApiError UNAVAILABLE if the database cannot be reached."""
        ...

    def meta_get(self, key: str) -> str | None: ...
    def meta_set(self, key: str, value: str) -> None: ...
    def tenants(self) -> list[str]:
        """Tenants of the node, `_system` and those that are being removed not among them."""
        ...

    def ensure_tenant(self, tenant: str) -> None:
        """ApiError CONFLICT while a tenant of that name is being removed."""
        ...

    def tenancy(self, tenant: str) -> str | None:
        """Which life of the tenant on this node this is; None if it has none, or is being removed."""
        ...

    def audit_after(self, seq: int, limit: int = 100) -> list[Doc]: ...
    def queued_runs(self, now: str, limit: int = 50) -> list[tuple[str, str]]:
        """(tenant, run id) of the runs that wait for the orchestrator and are due at `now`, a stamp of the clock."""
        ...

    def outbox_after(self, seq: int, limit: int = 100) -> list[Doc]:
        """`{seq, op_id, kind, doc, tenant}` in order of seq."""
        ...

    def ack_outbox(self, seq: int) -> None:
        """Forget operations up to and including seq, durably."""
        ...

    def acked_seq(self) -> int: ...
    def backlog(self, tenant: str | None = None) -> int:
        """Writes that the parent has not committed yet; of every tenant, or of one."""
        ...

    def ping(self) -> None:
        """Raises if the database does not answer."""
        ...

    def close(self) -> None: ...


class GraphStore(Protocol):
    """The graph of a tenant: over the relational tables, or in a graph database beside them."""

    kind: str
    derived: bool  # reads the relational tables, needs no mirror

    def start(self) -> None:
        """Begin to follow the tables. Until that is done neighborhood raises UNAVAILABLE."""
        ...

    def close(self) -> None: ...
    def check(self) -> tuple[bool, str]:
        """Whether neighborhood can answer now, and the kind or the reason. Raises nothing."""
        ...

    def neighborhood(self, tenant: str, start_id: str, max_depth: int, limit: int) -> tuple[list[str], bool] | None:
        """Ids of the entities within `max_depth` undirected hops of the start (itself included), each once, and whether
        more than `limit` were reached. None if the start does not exist in the tenant. ApiError UNAVAILABLE if the
        answer could not be that of every acknowledged write."""
        ...

    def mirror(self, tenant: str, changes: Sequence[tuple[str, Doc]]) -> None:
        """Told after each commit of what it changed, in order: (`entity.put`, doc), (`entity.delete`, {id}), and so
        for relationship. Deleting an entity deletes its relationships. Idempotent. Not called where `derived`."""
        ...

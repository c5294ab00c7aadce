"""The audit log: one hash chain per node. Entries hold ids, actions and outcomes, never the content of records."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from environments.companyos.clock import Clock
from environments.companyos.storage.base import Doc, Store
from environments.companyos.storage.rows import canonical

if TYPE_CHECKING:
    from environments.companyos.storage.sql import SqlTx

FIRST = "0" * 64  # what the first entry links to


def entry_hash(entry: Doc) -> str:
    """SHA-256 of the canonical JSON of everything in the entry except its own hash; `prev` makes it a chain."""
    body = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def extend(tx: SqlTx, entries: list[Doc]) -> None:
    """Append within a transaction that holds the chain's lock and acts for `_system`."""
    head = tx.rows("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    seq, prev = (int(head[0][0]), str(head[0][1])) if head else (0, FIRST)
    for entry in entries:
        seq += 1
        full: dict[str, Any] = {**entry, "seq": seq, "prev": prev}
        full["hash"] = prev = entry_hash(full)
        tx.change(
            "INSERT INTO audit (seq, at, tenant, actor, action, object_type, object_id, outcome, prev, hash) VALUES"
            " (:seq, :at, :whose, :actor, :action, :objectType, :objectId, :outcome, :prev, :hash)",
            whose=full.pop("tenant"),
            **full,
        )


class AuditLog:
    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def entry(self, tenant: str, actor: str, action: str, object_type: str, object_id: str, outcome: str = "ok") -> Doc:
        """For Tx.append_audit: the entry is committed with the change it tells of, or not at all."""
        return {
            "at": self.clock.stamp(),
            "tenant": tenant,
            "actor": actor,
            "action": action,
            "objectType": object_type,
            "objectId": object_id,
            "outcome": outcome,
        }

    def append(
        self, tenant: str, actor: str, action: str, object_type: str, object_id: str, outcome: str = "ok"
    ) -> None:
        """In a transaction of its own, for what changes no record: logins, refusals, administration."""
        with self.store.transaction("_system") as tx:
            tx.append_audit(self.entry(tenant, actor, action, object_type, object_id, outcome))

    def after(self, seq: int, limit: int = 100) -> list[Doc]:
        """Entries `{seq at tenant actor action objectType objectId outcome prev hash}` in order."""
        return self.store.audit_after(seq, limit)

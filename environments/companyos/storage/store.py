"""The node's own tables, over any SQL database: what storage.sql's transactions are made for."""

from __future__ import annotations

from contextlib import AbstractContextManager

from environments.companyos.errors import ApiError
from environments.companyos.keys.sealing import Sealer
from environments.companyos.storage import rows
from environments.companyos.storage.base import Doc, Tx
from environments.companyos.storage.sql import Mirror, SqlTx


class SqlStore:
    """The node's own tables, over any SQL database (storage.base.Store without the outbox)."""

    kind = ""
    engine = ""
    mirror: Mirror | None = None  # told of graph changes after their commit
    sealer: Sealer | None = None  # of content; None: it is kept as it is

    def committed(self, tx: SqlTx) -> None:
        if self.mirror is not None and tx.changes:
            self.mirror(tx.tenant, tx.changes)

    def transaction(self, tenant: str, *, snapshot: bool = False) -> AbstractContextManager[Tx]:
        raise NotImplementedError

    def _system(self) -> AbstractContextManager[SqlTx]:
        return self.transaction("_system")  # type: ignore[return-value]

    def meta_get(self, key: str) -> str | None:
        with self._system() as tx:
            found = tx.rows("SELECT value FROM node_meta WHERE key = :key", key=key)
        return str(found[0][0]) if found else None

    def meta_set(self, key: str, value: str) -> None:
        with self._system() as tx:
            tx.change(
                "INSERT INTO node_meta (key, value) VALUES (:key, :value)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                key=key,
                value=value,
            )

    def tenants(self) -> list[str]:
        with self._system() as tx:
            sql = "SELECT name FROM node_tenants WHERE name <> '_system' AND NOT leaving ORDER BY name"
            return [row[0] for row in tx.rows(sql)]

    def ensure_tenant(self, tenant: str) -> None:
        with self._system() as tx:
            tx.change("INSERT INTO node_tenants (name) VALUES (:name) ON CONFLICT DO NOTHING", name=tenant)
            if tx.rows("SELECT 1 FROM node_tenants WHERE name = :name AND leaving", name=tenant):
                raise ApiError("CONFLICT", message="the tenant is being removed")

    def tenancy(self, tenant: str) -> str | None:
        with self._system() as tx:
            found = tx.rows("SELECT tenancy FROM node_tenants WHERE name = :name AND NOT leaving", name=tenant)
        return str(found[0][0]) if found else None

    def audit_after(self, seq: int, limit: int = 100) -> list[Doc]:
        with self._system() as tx:
            sql = f"SELECT {rows.AUDIT} FROM audit WHERE seq > :seq ORDER BY seq LIMIT :limit"
            return [rows.audit(row) for row in tx.rows(sql, seq=seq, limit=limit)]

    def queued_runs(self, now: str, limit: int = 50) -> list[tuple[str, str]]:
        sql = "SELECT tenant, run_id FROM run_queue WHERE due_at <= :now ORDER BY tenant, run_id LIMIT :limit"
        with self._system() as tx:
            found = tx.rows(sql, now=now, limit=limit)
        return [(row[0], row[1]) for row in found]

    def ping(self) -> None:
        with self._system() as tx:
            tx.rows("SELECT 1 FROM node_meta LIMIT 1")

    def outbox_after(self, seq: int, limit: int = 100) -> list[Doc]:
        raise ApiError("UNSUPPORTED_IN_MODE", message="only an edge node has an outbox")

    def ack_outbox(self, seq: int) -> None:
        raise ApiError("UNSUPPORTED_IN_MODE", message="only an edge node has an outbox")

    def acked_seq(self) -> int:
        return 0

    def backlog(self, tenant: str | None = None) -> int:
        return 0

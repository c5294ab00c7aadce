"""The tenants of a hosted node: made, marked as leaving, and removed row by row. In the transaction that is given."""

from __future__ import annotations

import hashlib
from typing import cast

from environments.companyos.storage.base import Store, Tx
from environments.companyos.storage.sql import SqlTx

# The node's own tables that name a tenant: table -> column. `audit` is not among them: the hash chain of what was done
# on the node, without content, outlives whoever it tells of.
OWN_TABLES = {"run_queue": "tenant", "export_queue": "tenant", "directory_sessions": "of_tenant"}
META_KEYS = ("data_key.", "rate_per_s.", "quarantine.", "sync.ids.")  # in front of the tenant's name, in node_meta
TENANT_TABLES = (
    "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'tenant_id'"
    " ORDER BY table_name"
)


def gone_mark(tenant: str) -> str:
    """Key in node_meta that says that a tenant of this name was removed, without its name."""
    return f"tenant_gone.{hashlib.sha256(tenant.encode()).hexdigest()[:32]}"


def add(tx: Tx) -> bool:
    """The transaction's tenant begins a life here. False if it has one."""
    own = cast(SqlTx, tx)
    with own.db.system():
        sql = "INSERT INTO node_tenants (name) VALUES (:tenant) ON CONFLICT DO NOTHING"
        return own.change(sql) == 1


def leave(tx: Tx, tenant: str) -> bool:
    """In a transaction of `_system`: from its commit on the tenant is being removed. False if there is none."""
    own = cast(SqlTx, tx)
    if not own.change("UPDATE node_tenants SET leaving = true WHERE name = :name AND name <> '_system'", name=tenant):
        return False
    sql = "INSERT INTO node_meta (key, value) VALUES (:key, '') ON CONFLICT DO NOTHING"
    own.change(sql, key=gone_mark(tenant))
    return True


def state(store: Store, tenant: str) -> str | None:
    with store.transaction("_system") as tx:
        sql = "SELECT leaving FROM node_tenants WHERE name = :name AND name <> '_system'"
        found = cast(SqlTx, tx).rows(sql, name=tenant)
    return ("LEAVING" if found[0][0] else "ACTIVE") if found else None


def leaving(store: Store) -> list[tuple[str, str]]:
    """(tenant, tenancy) of those that are being removed."""
    with store.transaction("_system") as tx:
        found = cast(SqlTx, tx).rows("SELECT name, tenancy FROM node_tenants WHERE leaving ORDER BY name")
    return [(row[0], row[1]) for row in found]


def tenant_of(store: Store, tenancy: str) -> str | None:
    with store.transaction("_system") as tx:
        sql = "SELECT name FROM node_tenants WHERE tenancy = :tenancy AND NOT leaving AND name <> '_system'"
        found = cast(SqlTx, tx).rows(sql, tenancy=tenancy)
    return str(found[0][0]) if found else None


def remove_rows(tx: Tx) -> int:
    """Every row of the transaction's tenant in every table, and its data key; how many there were."""
    own = cast(SqlTx, tx)
    own.rows("SELECT set_config('app.leaving', :tenant, true)")
    entities = [row[0] for row in own.rows("SELECT id FROM entities WHERE {scope}")]
    removed = sum(own.change(f"DELETE FROM {row[0]} WHERE {{scope}}") for row in own.rows(TENANT_TABLES))
    with own.db.system():
        for table, column in OWN_TABLES.items():
            removed += own.change(f"DELETE FROM {table} WHERE {column} = :tenant")
        removed += sum(own.change("DELETE FROM node_meta WHERE key = :key", key=key) for key in _meta_keys(own))
    for id_ in entities:  # a graph database beside the tables follows
        own.note("entity.delete", {"id": id_})
    return removed


def _meta_keys(tx: SqlTx) -> list[str]:
    """Keys of the tenant in node_meta, and none of a tenant whose name only begins like its own."""
    others = [row[0] for row in tx.rows("SELECT name FROM node_tenants WHERE name <> :tenant")]
    longer = [name for name in others if name.startswith(f"{tx.tenant}.")]
    found = []
    for (key,) in tx.rows("SELECT key FROM node_meta"):
        for prefix in META_KEYS:
            rest = key.removeprefix(prefix)
            mine = rest == tx.tenant or rest.startswith(f"{tx.tenant}.")
            if rest != key and mine and not any(rest == name or rest.startswith(f"{name}.") for name in longer):
                found.append(key)
    return found


def gone(tx: Tx, tenant: str) -> None:
    """In a transaction of `_system`: the name is free again."""
    cast(SqlTx, tx).change("DELETE FROM node_tenants WHERE name = :name AND leaving", name=tenant)

"""Export jobs and their queue. Each function works in the transaction that it is given."""

from __future__ import annotations

import json
from typing import Any, cast

from environments.companyos.storage.base import Doc, Store, Tx
from environments.companyos.storage.rows import canonical, known_id
from environments.companyos.storage.sql import SqlTx

COLUMNS = "id, tenant_id, key, payload, state, bytes, created_by, created_at"


def add(tx: Tx, job: Doc) -> None:
    """A job of the transaction's tenant, and its place in the queue."""
    own = cast(SqlTx, tx)
    own.change(
        "INSERT INTO export_jobs (tenant_id, id, key, payload, state, created_by, created_at)"
        " VALUES (:tenant, :id, :key, :payload, 'QUEUED', :created_by, :created_at)",
        id=job["id"],
        key=job["key"],
        payload=tx.seal(f"export/{job['id']}", canonical(job["payload"])),
        created_by=job["createdBy"],
        created_at=job["createdAt"],
    )
    with own.db.system():
        own.change("INSERT INTO export_queue (job_id, tenant) VALUES (:id, :tenant)", id=job["id"])


def get(tx: Tx, id_: str) -> Doc | None:
    known = known_id(id_)
    return None if known is None else _one(tx, "id = :value", known)


def by_key(tx: Tx, key: str) -> Doc | None:
    """The job whose artefact has exactly this key."""
    return _one(tx, "key = :value", key)


def _one(tx: Tx, condition: str, value: str) -> Doc | None:
    own = cast(SqlTx, tx)
    found = own.rows(f"SELECT {COLUMNS} FROM export_jobs WHERE {{scope}} AND {condition}", value=value)
    return _job(own, found[0]) if found else None


def _job(tx: SqlTx, row: tuple[Any, ...]) -> Doc:
    names = ("id", "tenantId", "key", "payload", "state", "bytes", "createdBy", "createdAt")
    doc = dict(zip(names, row, strict=True))
    return {**doc, "payload": json.loads(tx.open(f"export/{doc['id']}", doc["payload"]))}


def begin(tx: Tx, id_: str) -> None:
    cast(SqlTx, tx).change("UPDATE export_jobs SET state = 'RUNNING' WHERE {scope} AND id = :id", id=id_)


def end(tx: Tx, id_: str, state: str, bytes_: int = 0) -> bool:
    """It is done and leaves the queue. False if the job is no more."""
    own = cast(SqlTx, tx)
    sql = "UPDATE export_jobs SET state = :state, bytes = :bytes WHERE {scope} AND id = :id"
    changed = own.change(sql, id=id_, state=state, bytes=bytes_)
    with own.db.system():
        own.change("DELETE FROM export_queue WHERE job_id = :id AND tenant = :tenant", id=id_)
    return changed == 1


def forget(tx: Tx, before: str) -> list[str]:
    """Delete the ended jobs that were asked for before this time; the keys of their artefacts."""
    sql = "DELETE FROM export_jobs WHERE {scope} AND created_at < :before AND state IN ('SUCCEEDED', 'FAILED')"
    return [row[0] for row in cast(SqlTx, tx).rows(f"{sql} RETURNING key", before=before)]


def queued(store: Store, limit: int = 50) -> list[tuple[str, str]]:
    """(tenant, job id) of those that wait, the tenants by turns: one with many does not hold up the others."""
    places = "SELECT tenant, job_id, row_number() OVER (PARTITION BY tenant ORDER BY job_id) AS place FROM export_queue"
    with store.transaction("_system") as tx:
        sql = f"SELECT tenant, job_id FROM ({places}) AS waiting ORDER BY place, tenant LIMIT :limit"
        return [(row[0], row[1]) for row in cast(SqlTx, tx).rows(sql, limit=limit)]

"""What is billed, in the tables of a hosted node. Each function works in the transaction that it is given."""

from __future__ import annotations

from typing import cast

from environments.companyos.storage.base import Doc, Tx
from environments.companyos.storage.sql import SqlTx


def add(tx: Tx, event: Doc) -> None:
    """`{id kind quantity at}` is to be billed to the transaction's tenant; nothing happens if that id is there."""
    cast(SqlTx, tx).change(
        "INSERT INTO billing_events (tenant_id, id, kind, quantity, at) VALUES (:tenant, :id, :kind, :quantity, :at)"
        " ON CONFLICT DO NOTHING",
        **event,
    )


def waiting(tx: Tx, limit: int) -> list[Doc]:
    """Events that are not billed yet, oldest first."""
    found = cast(SqlTx, tx).rows(
        "SELECT id, kind, quantity, at FROM billing_events WHERE {scope} AND NOT billed ORDER BY at, id LIMIT :limit",
        limit=limit,
    )
    return [{"id": str(row[0]), "kind": row[1], "quantity": row[2], "at": row[3]} for row in found]


def billed(tx: Tx, id_: str) -> None:
    cast(SqlTx, tx).change("UPDATE billing_events SET billed = true WHERE {scope} AND id = :id", id=id_)


def metered(tx: Tx) -> dict[str, int]:
    """kind -> sum of quantities, billed or not; of `seats`, which are counted once a day, the last."""
    found = cast(SqlTx, tx).rows(
        "SELECT kind, sum(quantity), (array_agg(quantity ORDER BY at DESC))[1] FROM billing_events WHERE {scope}"
        " GROUP BY kind"
    )
    return {row[0]: int(row[2] if row[0] == "seats" else row[1]) for row in found}


def first_time(tx: Tx, key: str) -> bool:
    """Whether the node sees this key for the first time, in a transaction of `_system`; it has seen it then."""
    inserted = cast(SqlTx, tx).change(
        "INSERT INTO node_meta (key, value) VALUES (:key, '') ON CONFLICT DO NOTHING", key=key
    )
    return inserted == 1

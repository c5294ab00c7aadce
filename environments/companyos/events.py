"""The event log of a tenant, numbered within it: numbers tell nothing of other tenants."""

from __future__ import annotations

from typing import Any

from environments.companyos.storage.base import Store


class EventLog:
    def __init__(self, store: Store) -> None:
        self.store = store

    def after(self, tenant: str, seq: int, limit: int = 100) -> dict[str, Any]:
        """`{events: [{seq type objectType id tenantId}], next}`; `next` is the number to ask after."""
        with self.store.transaction(tenant) as tx:
            found = tx.events_after(seq, limit)
        return {"events": found, "next": found[-1]["seq"] if found else seq}

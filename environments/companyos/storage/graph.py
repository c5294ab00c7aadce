"""The graph over the relational tables: one recursive query, cycles ended by the depth, each entity once."""

from __future__ import annotations

from collections.abc import Sequence

from environments.companyos.storage.base import Doc, Store
from environments.companyos.storage.rows import known_id

WALK = """
WITH RECURSIVE walk (id, depth) AS (
  SELECT id, 0 FROM entities WHERE {scope} AND id = :start
  UNION
  SELECT CASE WHEN r.src_id = w.id THEN r.dst_id ELSE r.src_id END, w.depth + 1
  FROM walk w JOIN (SELECT src_id, dst_id FROM relationships WHERE {scope}) r ON r.src_id = w.id OR r.dst_id = w.id
  WHERE w.depth < :max_depth)
SELECT id, min(depth) FROM walk GROUP BY id ORDER BY 2, 1 LIMIT :limit
"""


class RelationalGraph:
    """storage.base.GraphStore on the node's own SQL database."""

    kind = "relational"
    derived = True

    def __init__(self, store: Store) -> None:
        self.store = store

    def start(self) -> None:
        """Nothing to follow."""

    def close(self) -> None:
        """Nothing is open."""

    def check(self) -> tuple[bool, str]:
        return True, self.kind

    def neighborhood(self, tenant: str, start_id: str, max_depth: int, limit: int) -> tuple[list[str], bool] | None:
        start = known_id(start_id)
        if start is None:
            return None
        with self.store.transaction(tenant) as tx:
            found = tx.rows(WALK, start=start, max_depth=max_depth, limit=limit + 1)  # type: ignore[attr-defined]
        if not found:
            return None
        return [row[0] for row in found[:limit]], len(found) > limit

    def mirror(self, tenant: str, changes: Sequence[tuple[str, Doc]]) -> None:
        """Nothing: the walk reads the tables that were just written."""

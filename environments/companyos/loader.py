"""Entities that one request reads through its nested fields, fetched together. A loader lives as long as its request,
and belongs to one principal: what it remembers is never another's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from environments.companyos.storage.base import Doc

if TYPE_CHECKING:
    from environments.companyos.operations import Context


class Loader:
    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._found: dict[str, Doc | None] = {}

    def want(self, ids: Iterable[str]) -> None:
        """These are likely to be asked for: the first that is brings all."""
        self._wanted.update(ids)

    def entity(self, context: Context, id_: str) -> Doc | None:
        """None if the principal's tenant has no such entity."""
        if id_ not in self._found:
            context.allow("entity.read", id_)
            ids = sorted((self._wanted | {id_}) - self._found.keys())
            with context.transaction() as tx:
                there = {doc["id"]: doc for doc in tx.get_entities(ids)}
            self._found.update((each, there.get(each)) for each in ids)
            self._wanted.clear()
        return self._found[id_]

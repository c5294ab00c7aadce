"""Finding without an id: counts by kind, completion of what is typed, and the entities most like a text.

Everything here reads the principal's tenant in one transaction. Vectors are trigrams hashed to DIMENSIONS numbers: no
model has to be there, and every node gives the same scores.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from environments.companyos import limits
from environments.companyos.errors import ApiError
from environments.companyos.operations import Context, page
from environments.companyos.storage.base import Doc
from environments.companyos.storage.rows import search_text, storable

DIMENSIONS = 256
CACHED = 20_000  # vectors
Vector = Mapping[int, float]


def usable(text: str) -> str:
    if not storable(text) or len(text) > 1000:
        raise ApiError("INVALID", message="text is not usable")
    return text.casefold()


def entity_stats(context: Context) -> list[Doc]:
    """How many entities of each kind, the most first."""
    context.allow("entity.read")
    counts: Counter[str] = Counter()
    with context.transaction() as tx:
        for kind, _, count in tx.terms():
            counts[kind] += count
    return [{"kind": kind, "count": n} for kind, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def suggest(context: Context, text: str, limit: int | None = 10) -> list[str]:
    """Kinds and labels that begin so; if none does, those most like it ("did you mean")."""
    context.allow("entity.read")
    typed, (limit, _) = usable(text), page(limit)
    with context.transaction() as tx:
        known = sorted({term for kind, labels, _ in tx.terms() for term in (kind, *labels)})
    found = [term for term in known if term.casefold().startswith(typed)]
    if not found:
        folded = {term.casefold(): term for term in known}
        found = [folded[near] for near in difflib.get_close_matches(typed, folded, n=max(limit, 1), cutoff=0.75)]
    return found[:limit]


@lru_cache(maxsize=65_536)
def bucket(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=2).digest(), "big") % DIMENSIONS


def vector(text: str) -> Vector:
    """Of unit length; empty for a text shorter than three characters."""
    counts = Counter(bucket(text[at : at + 3]) for at in range(len(text) - 2))
    length = math.sqrt(sum(n * n for n in counts.values()))
    return {dimension: n / length for dimension, n in counts.items()}


def likeness(one: Vector, other: Vector) -> float:
    """Cosine, 0 to 1."""
    return sum(value * other.get(dimension, 0.0) for dimension, value in one.items())


class Vectors:
    """Of the entities last looked at. A key names tenant and version: what one tenant has is never another's."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Vector] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, doc: Doc) -> tuple[Any, ...]:
        return doc["tenantId"], doc["id"], doc["version"], doc["updatedAt"]

    def of(self, doc: Doc) -> Vector:
        key = self.key(doc)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        made = vector(search_text(doc["kind"], doc["labels"], doc["props"]))
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > CACHED:
                self._kept.popitem(last=False)
        return made

    def forget(self, tenant: str) -> None:
        with self._lock:
            for key in [key for key in self._kept if key[0] == tenant]:
                del self._kept[key]


def candidates(context: Context) -> list[Doc]:
    """What retrieval ranks: the tenant's newest entities."""
    with context.transaction() as tx:
        found: list[Doc] = tx.newest_entities(limits.RETRIEVED)
        return found


def similar_entities(context: Context, text: str, limit: int | None = 10) -> list[Doc]:
    """The entities most like the text, the likest first."""
    context.allow("entity.read")
    asked, (limit, _) = vector(usable(text)), page(limit)
    vectors: Vectors = context.services.extra.setdefault("vectors", Vectors())
    ranked = [(round(likeness(asked, vectors.of(doc)), 6), doc) for doc in candidates(context)]
    ranked.sort(key=lambda item: (-item[0], item[1]["createdAt"], item[1]["id"]))
    return [{"score": score, "entity": doc} for score, doc in ranked[:limit] if score > 0]

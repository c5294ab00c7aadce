"""Persisted queries: a client sends the SHA-256 of a document that it has sent before, in place of the document.

What is kept is text, by tenant: that a tenant uses a query is its own business, and what a query may read is decided
each time that it runs. The protocol is that of `extensions.persistedQuery`, version 1.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from environments.companyos.errors import ApiError

KEPT = 1000  # of all tenants together; what is forgotten is sent again
LONGEST = 4096  # characters of a query that is kept


class PersistedQueries:
    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, tenant: str, sha256: str) -> tuple[str, str]:
        return tenant, sha256

    def keep(self, tenant: str, sha256: str, query: str) -> None:
        if len(query) > LONGEST:
            return
        with self._lock:
            self._kept[self.key(tenant, sha256)] = query
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def forget(self, tenant: str) -> None:
        with self._lock:
            for key in [key for key in self._kept if key[0] == tenant]:
                del self._kept[key]

    def find(self, tenant: str, sha256: str) -> str | None:
        with self._lock:
            key = self.key(tenant, sha256)
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)


def hash_of(body: Mapping[str, Any]) -> str | None:
    """The hash in the request's extensions; None without one. ApiError INVALID for one of another form."""
    extensions = body.get("extensions")
    asked = extensions.get("persistedQuery") if isinstance(extensions, Mapping) else None
    if asked is None:
        return None
    found = asked.get("sha256Hash") if isinstance(asked, Mapping) and asked.get("version") == 1 else None
    if not isinstance(found, str) or len(found) != 64:
        raise ApiError("INVALID", message="persistedQuery needs version 1 and sha256Hash")
    return found.lower()


def query_of(kept: PersistedQueries, tenant: str, body: Mapping[str, Any]) -> str:
    """The document of a request that names it, by text, by hash, or by both (which keeps it). ApiError INVALID,
    PERSISTED_QUERY_NOT_FOUND."""
    query, sha256 = body.get("query"), hash_of(body)
    if sha256 is None:
        if not isinstance(query, str):
            raise ApiError("INVALID", message="the request has no query")
        return query
    if not isinstance(query, str):
        found = kept.find(tenant, sha256)
        if found is None:
            raise ApiError("PERSISTED_QUERY_NOT_FOUND", message="send the query with its hash once")
        return found
    if hashlib.sha256(query.encode()).hexdigest() != sha256:
        raise ApiError("INVALID", message="sha256Hash is not that of the query")
    kept.keep(tenant, sha256, query)
    return query

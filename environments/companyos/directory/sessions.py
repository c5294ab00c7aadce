"""Sessions of people whom the customer's directory vouches for, and the next look at each."""

from __future__ import annotations

import json
import threading
import time
import uuid
from typing import cast

from environments.companyos import log
from environments.companyos.directory import Away, Directory, Person, Refused
from environments.companyos.errors import ApiError
from environments.companyos.services import SYSTEM_TENANT
from environments.companyos.storage.base import Store, Tx
from environments.companyos.storage.sql import SqlTx

SESSION = "SELECT username, roles, secret, checked_at, ended FROM directory_sessions WHERE id = :id FOR UPDATE"


class Sessions:
    """Shared by the node's services through its database; each remembers for `recheck_s` what it has seen."""

    def __init__(self, store: Store, directory: Directory, recheck_s: float) -> None:
        self.store, self.directory, self.recheck_s = store, directory, recheck_s
        self._seen: dict[str, tuple[float, tuple[str, ...]]] = {}  # session -> (good until, monotonic; roles)
        self._lock = threading.Lock()

    def open(self, tenant: str, person: Person) -> str:
        """A session of someone who has just signed in; its id."""
        identifier = str(uuid.uuid4())
        with self.store.transaction(SYSTEM_TENANT) as tx:
            cast(SqlTx, tx).change(
                "INSERT INTO directory_sessions (id, of_tenant, username, roles, secret, checked_at)"
                " VALUES (:id, :of_tenant, :username, :roles, :secret, :now)",
                id=identifier,
                of_tenant=tenant,
                username=person.username,
                roles=json.dumps(person.roles),
                secret=person.secret,
                now=time.time(),
            )
        return identifier

    def roles(self, identifier: str) -> tuple[str, ...]:
        """The roles of a session now. ApiError UNAUTHENTICATED once the directory has refused, UNAVAILABLE while it
        does not answer and the last look is too long ago."""
        with self._lock:
            until, roles = self._seen.get(identifier, (0.0, ()))
        if time.monotonic() < until:
            return roles
        asked = time.monotonic()
        try:
            with self.store.transaction(SYSTEM_TENANT) as tx:
                age_s, found = self._look(tx, identifier)
        except Away as error:
            log.warning("the directory does not answer", code=str(error))
            raise ApiError("UNAVAILABLE", message="the directory does not answer") from None
        if found is None:
            raise ApiError("UNAUTHENTICATED", message="the session has ended")
        self._remember(identifier, asked - age_s + self.recheck_s, found)
        return found

    def _look(self, tx: Tx, identifier: str) -> tuple[float, tuple[str, ...] | None]:
        """(seconds since the last look, roles; None: it is over). The row is locked: a refresh token is used once."""
        rows = cast(SqlTx, tx).rows(SESSION, id=identifier)
        if not rows or rows[0][4]:
            return 0.0, None
        username, roles, secret, checked_at, _ = rows[0]
        age_s = max(0.0, time.time() - float(checked_at))
        if age_s < self.recheck_s:
            return age_s, tuple(json.loads(roles))
        now = time.time()
        try:
            person = self.directory.renew(username, secret)
        except Refused:
            cast(SqlTx, tx).change(
                "UPDATE directory_sessions SET ended = true, secret = '' WHERE id = :id", id=identifier
            )
            return 0.0, None
        cast(SqlTx, tx).change(
            "UPDATE directory_sessions SET roles = :roles, secret = :secret, checked_at = :now WHERE id = :id",
            id=identifier,
            roles=json.dumps(person.roles),
            secret=person.secret,
            now=now,
        )
        return 0.0, person.roles

    def _remember(self, identifier: str, until: float, roles: tuple[str, ...]) -> None:
        with self._lock:
            if len(self._seen) > 10_000:
                self._seen.clear()
            self._seen[identifier] = (until, roles)

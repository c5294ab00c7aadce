"""SQLite: one file, one connection, one transaction at a time; what is acknowledged is on the disk."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from environments.companyos.errors import ApiError
from environments.companyos.storage.base import Doc, Tx
from environments.companyos.storage.sql import SqlTx
from environments.companyos.storage.store import SqlStore

# FULL: a commit returns after fsync of the log, so an acknowledged write survives a power cut.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=3000", "cache_size=-4000")


def connect(path: Path, create: bool = False) -> sqlite3.Connection:
    """sqlite3.DatabaseError if there is no database there (unless `create`) or it is none."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=128)
    try:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class Sqlite:
    """Statements of one transaction (storage.sql.Statements)."""

    scope = "tenant_id = :tenant"
    contains = "instr(search_text, :text) > 0"
    for_update = ""
    has_investigations = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def run(self, sql: str, params: dict[str, Any]) -> tuple[list[tuple[Any, ...]], int]:
        cursor = self.connection.execute(sql, params)
        return cursor.fetchall(), cursor.rowcount

    @contextmanager
    def system(self) -> Iterator[None]:
        yield

    def lock_chain(self) -> None:
        """A transaction here is alone anyway."""


class SqliteStore(SqlStore):
    kind = "sqlite"
    engine = sqlite3.sqlite_version

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None  # opened when first needed, and again after damage
        self.lock = threading.RLock()

    def transaction(self, tenant: str, *, snapshot: bool = False) -> AbstractContextManager[Tx]:
        return self._transaction(tenant)

    @contextmanager
    def _transaction(self, tenant: str) -> Iterator[Tx]:
        with self.lock:
            if self.connection is not None and self.connection.in_transaction:
                raise RuntimeError("a transaction inside a transaction")
            try:
                if self.connection is None:
                    self.connection = connect(self.path)
                self.connection.execute("BEGIN IMMEDIATE")
                tx = SqlTx(tenant, Sqlite(self.connection), self.mirror is not None, self.sealer)
                yield tx
                tx.flush()
                self.connection.execute("COMMIT")
                self.committed(tx)
            except sqlite3.IntegrityError as error:
                if "FOREIGN KEY" in str(error):
                    raise ApiError("NOT_FOUND", message="no such object") from error
                raise ApiError("CONFLICT", message="already exists") from error
            except (sqlite3.DataError, sqlite3.InterfaceError, OverflowError) as error:
                raise ApiError("INVALID", message="a value cannot be stored") from error
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:  # the database is as good as before
                    raise ApiError("STORAGE_FULL", message="there is no space left to keep it") from error
                self._drop()
                raise ApiError("UNAVAILABLE", message="the database does not answer") from error
            finally:
                if self.connection is not None and self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def _drop(self) -> None:
        """Start afresh at the next transaction; closing rolls back what is open."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def outbox_after(self, seq: int, limit: int = 100) -> list[Doc]:
        with self._system() as tx:
            sql = "SELECT seq, op_id, kind, tenant, doc FROM outbox WHERE seq > :seq ORDER BY seq LIMIT :limit"
            found = [
                (*row[:4], json.loads(tx.open(f"outbox/{row[1]}", row[4], row[3])))
                for row in tx.rows(sql, seq=seq, limit=limit)
            ]
        names = ("seq", "op_id", "kind", "tenant", "doc")
        return [dict(zip(names, row, strict=True)) for row in found]

    def ack_outbox(self, seq: int) -> None:
        with self._system() as tx:
            tx.change("DELETE FROM outbox WHERE seq <= :seq", seq=seq)
            tx.change(
                "INSERT INTO node_meta (key, value) VALUES ('sync.acked_seq', :text)"
                " ON CONFLICT (key) DO UPDATE SET value = :text WHERE CAST(value AS INTEGER) < :seq",
                text=str(seq),
                seq=seq,
            )

    def acked_seq(self) -> int:
        return int(self.meta_get("sync.acked_seq") or 0)

    def backlog(self, tenant: str | None = None) -> int:
        sql = "SELECT count(*) FROM outbox WHERE :owner IS NULL OR tenant = :owner"
        with self._system() as tx:
            return int(tx.rows(sql, owner=tenant)[0][0])

    def close(self) -> None:
        with self.lock:
            self._drop()

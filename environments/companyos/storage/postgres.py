"""PostgreSQL: rows are scoped by row level security, the tenant is bound to each transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool, PoolTimeout

from environments.companyos.errors import ApiError
from environments.companyos.storage.base import Tx
from environments.companyos.storage.sql import SqlTx
from environments.companyos.storage.store import SqlStore

POOL_SIZE = 4  # small, so that requests share connections all the time and what leaks between them shows
WAIT_S = 4.0  # longest a request waits for a connection
PING_WAIT_S = 1.5
_NAMED = re.compile(r":([a-zA-Z_]\w*)", re.ASCII)

Connection = psycopg.Connection[tuple[Any, ...]]


def bind_tenant(connection: Connection, tenant: str) -> None:
    """The one place that says whose rows a transaction sees. `true`: forgotten at its end, whatever ends it."""
    connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))


def begin(connection: Connection, snapshot: bool) -> None:
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ" if snapshot else "BEGIN")


@lru_cache(maxsize=512)
def _translated(sql: str) -> bytes:
    return _NAMED.sub(r"%(\1)s", sql).encode()


class Postgres:
    """Statements of one transaction (storage.sql.Statements)."""

    scope = "true"
    contains = "strpos(search_text, :text) > 0"
    for_update = " FOR UPDATE"
    has_investigations = True

    def __init__(self, connection: Connection, tenant: str) -> None:
        self.connection = connection
        self.tenant = tenant

    def run(self, sql: str, params: dict[str, Any]) -> tuple[list[tuple[Any, ...]], int]:
        cursor = self.connection.execute(_translated(sql), params)
        return (cursor.fetchall() if cursor.description else []), cursor.rowcount

    @contextmanager
    def system(self) -> Iterator[None]:
        bind_tenant(self.connection, "_system")
        yield
        bind_tenant(self.connection, self.tenant)

    def lock_chain(self) -> None:
        self.connection.execute("SELECT pg_advisory_xact_lock(7031)")


def engine_version(server_version: int) -> str:
    """180006 -> 18.6: what the server says of itself at the start of a session."""
    return f"{server_version // 10000}.{server_version % 10000}"


def prepare(connection: Connection) -> None:
    """Settings of a pooled connection, once."""
    connection.prepare_threshold = 2
    connection.adapters.register_loader("uuid", TextLoader)


class PostgresStore(SqlStore):
    kind = "postgresql"

    def __init__(self, dsn: str) -> None:
        self.pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            min_size=1,
            max_size=POOL_SIZE,
            open=True,
            timeout=WAIT_S,
            configure=self._prepare,
            kwargs={"autocommit": True, "connect_timeout": 3},
            reconnect_timeout=2.0,  # then the next request asks anew: recovery does not wait for a long backoff
        )

    def _prepare(self, connection: Connection) -> None:
        prepare(connection)
        self.engine = engine_version(connection.info.server_version)

    def transaction(self, tenant: str, *, snapshot: bool = False) -> AbstractContextManager[Tx]:
        return self._transaction(tenant, snapshot)

    def ping(self) -> None:
        with self._transaction("_system", False, PING_WAIT_S) as tx:
            tx.rows("SELECT 1 FROM node_meta LIMIT 1")

    def _start(self, tenant: str, snapshot: bool, wait_s: float) -> Connection:
        """A connection inside a bound transaction. Connections that died while idle are replaced, not reported."""
        for attempt in range(POOL_SIZE + 1):
            connection = self.pool.getconn(wait_s)
            try:
                begin(connection, snapshot)
                bind_tenant(connection, tenant)
            except psycopg.OperationalError:
                self.pool.putconn(connection)
                if attempt == POOL_SIZE:
                    raise
            except BaseException:
                self.pool.putconn(connection)
                raise
            else:
                return connection
        raise AssertionError("unreachable")

    @contextmanager
    def _transaction(self, tenant: str, snapshot: bool, wait_s: float = WAIT_S) -> Iterator[SqlTx]:
        try:
            connection = self._start(tenant, snapshot, wait_s)
            try:
                tx = SqlTx(tenant, Postgres(connection, tenant), self.mirror is not None, self.sealer)
                yield tx
                tx.flush()
                connection.execute("COMMIT")
            finally:
                self._give_back(connection)
            self.committed(tx)  # without the connection: the graph reads the tables through another one
        except psycopg.errors.ForeignKeyViolation as error:
            raise ApiError("NOT_FOUND", message="no such object") from error
        except psycopg.errors.UniqueViolation as error:
            raise ApiError("CONFLICT", message="already exists") from error
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as error:
            raise ApiError("CONFLICT", message="changed meanwhile, try again") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ApiError("FORBIDDEN", message="not allowed") from error
        except psycopg.DataError as error:
            raise ApiError("INVALID", message="a value cannot be stored") from error
        except psycopg.errors.DiskFull as error:
            raise ApiError("STORAGE_FULL", message="there is no space left to keep it") from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise ApiError("UNAVAILABLE", message="the database does not answer") from error

    def _give_back(self, connection: Connection) -> None:
        """Roll back whatever is open; the pool drops the connection if that fails."""
        try:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            pass
        finally:
            self.pool.putconn(connection)

    def close(self) -> None:
        self.pool.close()

"""Prepare a node: key, database, users; repeatable. `python -m environments.companyos.install --config node.json`"""

from __future__ import annotations

import argparse
import sqlite3
from pathlib import Path
from typing import Any

from environments.companyos import defects, log
from environments.companyos.config import NodeConfig
from environments.companyos.identity import create_key, hash_password
from environments.companyos.storage.base import Store
from environments.companyos.storage.open import open_store
from environments.companyos.storage.tenancies import gone_mark

MIGRATIONS = Path(__file__).parent / "migrations"
APP_ROLE = "companyos_app"
OWNER_ROLE = "companyos_owner"


def create_roles(connection: Any, password: str | None) -> None:
    """The owner cannot log in; the application role owns nothing and is neither superuser nor BYPASSRLS."""
    from psycopg import sql

    for role, flags in ((OWNER_ROLE, "NOLOGIN"), (APP_ROLE, "LOGIN")):
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            name = sql.Identifier(role)
            safe = sql.SQL("NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION")
            connection.execute(sql.SQL("CREATE ROLE {} {} {}").format(name, sql.SQL(flags), safe))
    if password:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(APP_ROLE), sql.Literal(password)))


def install_postgres(config: NodeConfig) -> None:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if config.postgres_admin_dsn is None or config.postgres_app_dsn is None:
        raise SystemExit("postgres_admin_dsn and postgres_app_dsn are required in this mode")
    password = conninfo_to_dict(config.postgres_app_dsn).get("password")
    with psycopg.connect(config.postgres_admin_dsn) as connection:
        create_roles(connection, None if password is None else str(password))
        if connection.execute("SELECT to_regclass('public.node_meta')").fetchone() == (None,):
            connection.execute((MIGRATIONS / "001_init.sql").read_bytes())


def install_sqlite(config: NodeConfig) -> None:
    from environments.companyos.storage.sqlite import connect

    path = config.data_dir / "companyos.sqlite"
    connection = connect(path, create=True)
    path.chmod(0o600)
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'node_meta'").fetchone():
        script = (MIGRATIONS / "001_init_sqlite.sql").read_text()
        connection.executescript(f"BEGIN;\n{script}\nCOMMIT;")
    connection.close()


def seed(config: NodeConfig, store: Store) -> None:
    """Users of the configuration. Those that exist keep their password; a tenant that was removed stays away."""
    store.meta_set("schema_version", str(config.schema_version))
    for user in config.seed_users:
        if store.meta_get(gone_mark(user.tenant)) is not None:
            continue
        store.ensure_tenant(user.tenant)
        with store.transaction(user.tenant) as tx:
            if tx.get_user(user.username) is None:
                hashed = hash_password(user.password)
                tx.put_user({"username": user.username, "passwordHash": hashed, "roles": user.roles})


def admin_connection(config: NodeConfig) -> Any:
    """For install defects: superuser's psycopg connection (autocommit) or the edge's SQLite connection."""
    if config.mode == "D":
        return sqlite3.connect(config.data_dir / "companyos.sqlite", isolation_level=None)
    import psycopg

    return psycopg.connect(config.postgres_admin_dsn or "", autocommit=True)


def install(config: NodeConfig) -> None:
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    create_key(config)
    if config.mode == "D":
        install_sqlite(config)
    else:
        install_postgres(config)
    store = open_store(config)
    try:
        seed(config, store)
    finally:
        store.close()
    if config.defects:
        connection = admin_connection(config)
        defects.apply(config.defects, "install", config.mode, "install", config, connection)
        connection.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    config = NodeConfig.model_validate_json(options.config.read_bytes())
    install(config)
    log.info("installed", node=config.node_id, mode=config.mode)


if __name__ == "__main__":
    main()

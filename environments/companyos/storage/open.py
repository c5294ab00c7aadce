"""The stores of a node. A database driver is imported only when that is the node's database."""

from __future__ import annotations

from environments.companyos.config import NodeConfig
from environments.companyos.storage.base import GraphStore, Store
from environments.companyos.storage.graph import RelationalGraph


def open_store(config: NodeConfig) -> Store:
    if config.mode == "D":
        from environments.companyos.storage.sqlite import SqliteStore

        return SqliteStore(config.data_dir / "companyos.sqlite")
    from environments.companyos.storage.postgres import PostgresStore

    if config.postgres_app_dsn is None:
        raise SystemExit("postgres_app_dsn is required in this mode")
    return PostgresStore(config.postgres_app_dsn)


def open_graph(config: NodeConfig, store: Store, role: str) -> GraphStore:
    """In Neo4j where one is configured and the role serves the graph; relational elsewhere."""
    if config.graph_url is None or role == "control":
        return RelationalGraph(store)
    from environments.companyos.storage.neo4j import Neo4jGraph

    return Neo4jGraph(store, config.graph_url, config.graph_password or "")

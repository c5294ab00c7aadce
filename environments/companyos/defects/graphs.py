"""Known-bad behaviours of the graph: of the walk over tables at the edge, and of the graph database at a core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from environments.companyos.defects import defect
from environments.companyos.errors import ApiError
from environments.companyos.services import Services
from environments.companyos.storage import bolt, graph
from environments.companyos.storage.base import Doc
from environments.companyos.storage.neo4j import Neo4jGraph

CORE = ("A", "B", "Ct", "Ca")
WITH_DATABASE = ("containers",)


def _of(services: Services) -> Neo4jGraph:
    found = services.graph
    if not isinstance(found, Neo4jGraph):
        raise SystemExit("this defect is of a graph database, and the node has none")
    return found


@defect(kills=("FUN-05",), modes=("D",), drivers=WITH_DATABASE)
def edge_walks_one_way(services: Services) -> None:
    """The recursive query of the edge follows relationships from source to target alone."""
    graph.WALK = graph.WALK.replace("CASE WHEN r.src_id = w.id THEN r.dst_id ELSE r.src_id END", "r.dst_id").replace(
        " OR r.dst_id = w.id", ""
    )


@defect(kills=("FUN-05",), modes=("D",), drivers=WITH_DATABASE)
def edge_walks_a_hop_too_far(services: Services) -> None:
    """Depth off by one: the recursion stops after the hop that it should not have begun."""
    graph.WALK = graph.WALK.replace("w.depth < :max_depth", "w.depth <= :max_depth")


@defect(kills=("FUN-05",), modes=("D",), drivers=WITH_DATABASE)
def edge_gives_up_at_a_cycle(services: Services) -> None:
    """A guard against cycles that is too eager: whoever can reach the start again is not walked through."""
    graph.WALK = graph.WALK.replace(
        "WHERE w.depth < :max_depth",
        "WHERE w.depth < :max_depth AND (w.depth = 0 OR NOT EXISTS (SELECT 1 FROM relationships b"
        " WHERE b.src_id = w.id AND b.dst_id = :start))",
    )


@defect(kills=("FUN-05",), modes=CORE, roles=("data",), drivers=WITH_DATABASE)
def mirror_drops_deletes(services: Services) -> None:
    """Only what is put is told to the graph: what was deleted stays there."""
    found = _of(services)
    genuine = found.mirror

    def mirror(tenant: str, changes: Sequence[tuple[str, Doc]]) -> None:
        genuine(tenant, [change for change in changes if change[0].endswith(".put")])

    found.mirror = mirror  # type: ignore[method-assign]
    services.store.mirror = mirror


@defect(kills=("FUN-05",), modes=CORE, roles=("data",), drivers=WITH_DATABASE)
def mirror_forgets_while_away(services: Services) -> None:
    """Changes that the graph database could not take are logged and dropped."""
    found = _of(services)
    genuine = found.mirror

    def mirror(tenant: str, changes: Sequence[tuple[str, Doc]]) -> None:
        genuine(tenant, changes)
        if found.away:
            found._marks.clear()

    services.store.mirror = mirror


@defect(kills=("FUN-05",), modes=CORE, roles=("data",), drivers=WITH_DATABASE)
def core_walks_a_hop_short(services: Services) -> None:
    """The pattern counts entities where the promise counts hops."""
    genuine = services.graph.neighborhood

    def neighborhood(tenant: str, start_id: str, max_depth: int, limit: int) -> Any:
        return genuine(tenant, start_id, max(0, max_depth - 1), limit)

    services.graph.neighborhood = neighborhood  # type: ignore[method-assign]


@defect(kills=("FUN-05",), modes=CORE, roles=("data",), drivers=WITH_DATABASE)
def core_walks_one_way(services: Services) -> None:
    """The arrow of the pattern has a head."""
    bolt.WALK = bolt.WALK.replace("]-(", "]->(")


@defect(kills=("FUN-05",), modes=("A",), roles=("data",), drivers=WITH_DATABASE)
def graph_forgets_the_tenant(services: Services) -> None:
    """The walk begins at the id in whatever tenant it is, and never asks again."""
    bolt.WALK = bolt.WALK.replace("tenant: $tenant, ", "").replace("{tenant: $tenant}", "")


@defect(kills=("FUN-05",), modes=CORE, roles=("data",), drivers=WITH_DATABASE)
def stale_rather_than_silent(services: Services) -> None:
    """While the graph database is away, answers come from what was read last (a cache put before it)."""
    genuine = services.graph.neighborhood
    kept: dict[tuple[str, str], Any] = {}

    def neighborhood(tenant: str, start_id: str, max_depth: int, limit: int) -> Any:
        try:
            kept[tenant, start_id] = genuine(tenant, start_id, max_depth, limit)
        except ApiError:
            return kept.get((tenant, start_id), ([start_id], False))
        return kept[tenant, start_id]

    services.graph.neighborhood = neighborhood  # type: ignore[method-assign]


@defect(kills=("FUN-05",), modes=CORE, roles=("data",), drivers=WITH_DATABASE)
def cypher_by_concatenation(services: Services) -> None:
    """Types of relationships are written into the statement, and some of them end it."""
    genuine = bolt.put

    def put(tx: Any, tenant: str, entities: Sequence[Doc], relationships: Sequence[Doc], seen: str) -> None:
        for doc in relationships:
            tx.run(f"RETURN '{doc['type']}' AS type").consume()
        genuine(tx, tenant, entities, relationships, seen)

    bolt.put = put

"""FUN-05: the graph database of a core node and the relational substitute of an edge give the same answers."""

from __future__ import annotations

import uuid
from typing import Any

from environments.contract import Capability, Client, Deployment, Evidence, Node, requirement, untestable, vacuous
from suites.exchange import (
    ask,
    assert_no_crash,
    assert_refused,
    conclude,
    data_of,
    document,
    healed_after,
    shown,
    signed_in,
    tenants,
)
from suites.functional.graphs import Edge, Graph, judge_walks
from suites.functional.walking import Place, explore, told
from suites.product import create_entity, create_relationship, literal
from suites.waiting import wait_until

BACK_S = 60.0  # for a graph database to answer again
ODD_IDS = (
    "",
    "no uuid",
    "it's",
    '"}) MATCH (n) DETACH DELETE n //',
    "`",
    "{tenant: 'x'}",
    "*",
    "%",
    "日本",
    "00000000-0000-4000-8000-00000000000",
    "00000000-0000-4000-8000-000000000000\n",
    "x" * 5000,
)


def _nodes(deployment: Deployment) -> list[Node]:
    """The subject, and its parent where the subject is an edge: the two kinds of graph, side by side."""
    parent = deployment.parent if deployment.subject.variant == "edge" else None
    return [deployment.subject, *([parent] if parent else [])]


def _place(node: Node) -> Place:
    client = signed_in(node, "analyst")
    said = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))
    deepest = int(said["limits"]["max_depth"])
    kind = said["components"]["graph"]["kind"]
    return Place(f"{node.name} ({kind})", client, (0, 1, 2, 3, deepest))


def _core(deployment: Deployment) -> Node:
    found = [node for node in _nodes(deployment) if "neo4j" in node.services]
    if not found:
        untestable("graph-database: no node here has a graph database that can be taken away")
    return found[0]


@requirement("FUN-05", needs=(Capability.GRAPH_DATABASE,))
def test_generated_graphs_are_walked_alike(deployment: Deployment, evidence: Evidence) -> None:
    """Generated graphs with cycles, self-loops, parallel and deleted relationships: every neighbourhood of every entity
    at every depth is that of a breadth-first search, at the core and at the edge."""
    places = [_place(node) for node in _nodes(deployment)]
    problems, smallest, walked = explore(judge_walks, places, deployment.seed)
    evidence.add("places", [place.where for place in places])
    evidence.add("seed", deployment.seed)
    if smallest is not None:
        evidence.add("smallest graph that differs", told(smallest))
    if not walked:
        vacuous("no graph was walked")
    conclude(evidence, problems, "the answers of the reference", f"{walked} walks alike at {len(places)} node(s)")


@requirement("FUN-05", needs=(Capability.GRAPH_DATABASE,))
def test_depth_ids_and_tenants_are_held(deployment: Deployment, evidence: Evidence) -> None:
    """A long chain is seen as far as the depth; beyond the limit is INVALID; odd ids are nobody's; the same ids in
    another tenant are related to nothing of this one."""
    problems = []
    for node in _nodes(deployment):
        place = _place(node)
        deepest = place.depths[-1]
        chain = Graph(deepest + 3, tuple(Edge(n, n + 1, "NEXT") for n in range(deepest + 2)))
        place.depths = range(deepest + 1)
        walks = place.walk(chain)
        problems += judge_walks(walks)
        problems += _odd(place.client, node, deepest)
        problems += _same_ids(node)
        evidence.add(place.where, f"{len(walks)} walks of a chain, {len(ODD_IDS)} odd ids")
    conclude(evidence, problems, "as far as asked, and no further", "held at every node")


def _walk(client: Client, start: str, depth: int) -> Any:
    given = f"startEntityId: {literal(start)}, maxDepth: {depth}"
    query = f"{{ graphNeighborhood({given}) {{ entities {{ id }} relationships {{ id }} }} }}"
    return client.graphql(query)


def _odd(client: Client, node: Node, deepest: int) -> list[str]:
    one, two = (create_entity(client, "walk") for _ in range(2))
    create_relationship(client, one["id"], two["id"], "KNOWS")
    problems = []
    for start in ODD_IDS:
        answer = assert_no_crash(_walk(client, start, 2), f"{node.name}: {start[:40]!r}")
        if answer.status != 200 or answer.error_code or data_of(answer, start[:40])["graphNeighborhood"] is not None:
            problems.append(f"{node.name}: the id {start[:40]!r} is somebody's: {shown(answer)}")
    for depth in (-1, deepest + 1, 1000):
        assert_refused(_walk(client, one["id"], depth), 200, "INVALID", f"{node.name}: depth {depth}")
    upper = _walk(client, one["id"].upper(), 1)
    if (
        upper.body != _walk(client, one["id"], 1).body
        or len(data_of(upper, "an id in upper case")["graphNeighborhood"]["entities"]) != 2
    ):
        problems.append(f"{node.name}: an id in upper case is another one: {shown(upper)}")
    return problems


def _same_ids(node: Node) -> list[str]:
    """In the first tenant two entities are not related; in the second, those of the same ids are."""
    if len(tenants(node)) < 2:
        return []
    one, two = (signed_in(node, "analyst", tenant) for tenant in tenants(node)[:2])
    ids = [str(uuid.uuid4()) for _ in range(2)]
    for client in (one, two):
        for id_ in ids:
            create_entity(client, "walk", id=id_)
    create_relationship(two, ids[0], ids[1], "KNOWS")
    problems = []
    for name, client, expected in (("one", one, 1), ("two", two, 2)):
        answer = ask(client, f"{{ graphNeighborhood(startEntityId: {literal(ids[0])}) {{ entities {{ id }} }} }}")
        seen = [each["id"] for each in answer["graphNeighborhood"]["entities"]]
        if len(seen) != expected:
            problems.append(f"{node.name}: tenant {name} reaches {len(seen)} of its entities, not {expected}")
    return problems


@requirement("FUN-05", needs=(Capability.GRAPH_DATABASE, Capability.PROCESS_CONTROL))
def test_no_answer_lacks_an_acknowledged_write(deployment: Deployment, evidence: Evidence) -> None:
    """The graph database stands still: writes go on, and the graph says UNAVAILABLE rather than what it knew before.
    When it goes on, everything that was written meanwhile is there."""
    node = _core(deployment)
    client = signed_in(node, "analyst")
    one, two = (create_entity(client, "walk") for _ in range(2))
    before = _reached(client, one["id"])
    kept = create_relationship(client, one["id"], two["id"], "KNOWS")
    assert (before, _reached(client, one["id"])) == ({one["id"]}, {one["id"], two["id"]}), "the control of this check"
    with healed_after(deployment):
        node.pause("neo4j")
        third = create_entity(client, "walk")
        create_relationship(client, two["id"], third["id"], "KNOWS")
        ask(client, f"mutation {{ deleteRelationship(id: {literal(kept['id'])}) }}")
        while_away = _walk(client, two["id"], 2)
        evidence.add("while it stands still", shown(while_away))
        node.resume("neo4j")
        waited_s = wait_until(lambda: _walk(client, two["id"], 2).error_code is None, BACK_S)
        after = _reached(client, two["id"])
    assert_refused(while_away, 200, "UNAVAILABLE", f"{node.name}: the graph while its database stands still")
    evidence.add("back after_s", round(waited_s, 2))
    problems = [] if waited_s <= BACK_S else [f"the graph did not come back within {BACK_S:g} s"]
    if after != {two["id"], third["id"]}:
        problems.append(f"afterwards the walk reaches {len(after)} entities, not the two that are related")
    conclude(evidence, problems, "UNAVAILABLE, then all that was written", f"all there {waited_s:.1f} s after")


def _reached(client: Client, start: str) -> set[str]:
    answer = _walk(client, start, 2)
    if answer.error_code is not None:
        return set()
    return {each["id"] for each in data_of(answer, "the graph")["graphNeighborhood"]["entities"]}

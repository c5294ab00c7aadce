"""FUN-05: graphs that are generated, what a walk of them must find, and the judge of what walks have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from environments.contract import vacuous

MOST_ENTITIES, MOST_EXTRA = 9, 8
# Types of relationships are the customer's own words: data, whatever a query language would make of them.
TYPES = (
    "KNOWS",
    "owns & rents",
    "RELATES|KNOWS",
    "*0..6",
    "a`b",
    "it's",
    '"})-[x]-(y) DETACH DELETE y //',
    "日本\u200d",
    "$x",
)


@dataclass(frozen=True)
class Edge:
    """A relationship between two entities, by their numbers."""

    src: int
    dst: int
    type: str


@dataclass(frozen=True)
class Graph:
    """Entities 0..size-1 and relationships in the order in which they are made; then those of `gone` are deleted."""

    size: int
    edges: tuple[Edge, ...]
    gone_entities: frozenset[int] = frozenset()
    gone_edges: frozenset[int] = frozenset()  # positions in `edges`

    @property
    def entities(self) -> list[int]:
        return [each for each in range(self.size) if each not in self.gone_entities]

    @property
    def living(self) -> list[Edge]:
        """Without those that were deleted, and those whose ends were."""
        return [
            edge
            for position, edge in enumerate(self.edges)
            if position not in self.gone_edges and not {edge.src, edge.dst} & self.gone_entities
        ]


@dataclass(frozen=True)
class Found:
    """The answer to a walk: entities by number, relationships as (src, dst, type), both in the order of the answer."""

    entities: tuple[int, ...]
    edges: tuple[tuple[int, int, str], ...]
    truncated: bool = False


@dataclass(frozen=True)
class Walk:
    """What was asked where, and both answers; found None: null, or an error that `problem` tells."""

    where: str
    asked: str
    expected: Found | None
    found: Found | None
    problem: str = ""


def neighborhood(graph: Graph, start: int, depth: int) -> Found | None:
    """The reference: breadth first, over relationships in both directions, each entity once; None without a start."""
    if start not in graph.entities:
        return None
    reached, edge_of = {start}, {start}
    for _ in range(depth):
        ends = {end for e in graph.living for end in (e.src, e.dst) if {e.src, e.dst} & edge_of}
        edge_of = ends - reached
        reached |= ends
    between = [(e.src, e.dst, e.type) for e in graph.living if e.src in reached and e.dst in reached]
    return Found(tuple(sorted(reached)), tuple(between))


def incident(graph: Graph, entity: int) -> Found:
    """The reference of `relationships(entityId)`: a self-loop once."""
    return Found((), tuple((e.src, e.dst, e.type) for e in graph.living if entity in (e.src, e.dst)))


def judge_walks(walks: Sequence[Walk]) -> list[str]:
    """Every answer is that of the reference."""
    if not any(walk.found is not None for walk in walks):
        vacuous("no walk was answered")
    problems = []
    for walk in walks:
        if walk.problem:
            problems.append(f"{walk.where}: {walk.asked}: {walk.problem}")
        elif walk.found != walk.expected:
            problems.append(f"{walk.where}: {walk.asked}: expected {_told(walk.expected)}, found {_told(walk.found)}")
    return problems


def _told(found: Found | None) -> str:
    if found is None:
        return "null"
    edges = ", ".join(f"{src}-[{type_}]->{dst}" for src, dst, type_ in found.edges)
    return f"entities {list(found.entities)}, relationships [{edges}]{', truncated' if found.truncated else ''}"


@st.composite
def graphs(draw: Any) -> Graph:
    """A chain whose relationships point either way, so that depth and direction matter, and others anywhere: cycles,
    self-loops, parallel ones. Some of both are deleted again."""
    size = draw(st.integers(1, MOST_ENTITIES))
    numbers, types = st.integers(0, size - 1), st.sampled_from(TYPES)
    edges = []
    for position in range(draw(st.integers(0, size - 1))):
        ends = (position, position + 1) if draw(st.booleans()) else (position + 1, position)
        edges.append(Edge(*ends, draw(types)))
    edges += draw(st.lists(st.builds(Edge, numbers, numbers, types), max_size=MOST_EXTRA))
    gone_entities = draw(st.frozensets(numbers, max_size=2))
    gone_edges = draw(st.frozensets(st.integers(0, len(edges) - 1), max_size=3)) if edges else frozenset()
    return Graph(size, tuple(edges), gone_entities, gone_edges)

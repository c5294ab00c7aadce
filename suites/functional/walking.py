"""FUN-05: make a generated graph at a node by the product's own GraphQL, and walk it there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from environments.contract import Client, Response
from suites.exchange import ask, assert_no_crash, document, shown
from suites.functional.generated import smallest
from suites.functional.graphs import Found, Graph, Walk, graphs, incident, neighborhood
from suites.product import literal
from suites.waiting import wait_until

EXAMPLES = 12
SHRINK_S = 40.0  # how long a counterexample may be made smaller; each try is a dozen writes at each node
BEHIND_S = 10.0  # for which a graph may say so after writes that it has not got yet
PARTS = "entities { id } relationships { srcId dstId type } truncated"


class Place:
    """A node where graphs are walked. where: for the evidence; depths: of the walks, in its declared limits."""

    def __init__(self, where: str, client: Client, depths: Sequence[int]) -> None:
        self.where, self.client, self.depths = where, client, depths

    def walk(self, graph: Graph) -> list[Walk]:
        """Make the graph, then ask for every neighbourhood and every entity's relationships."""
        ids = self.make(graph)
        asked: dict[str, tuple[str, Found | None]] = {}
        fields = []
        for start in range(graph.size):
            for depth in self.depths:
                name = f"n{start}_{depth}"
                asked[name] = (f"graphNeighborhood({start}, maxDepth: {depth})", neighborhood(graph, start, depth))
                given_ = f"startEntityId: {literal(ids[start])}, maxDepth: {depth}"
                fields.append(f"{name}: graphNeighborhood({given_}) {{ {PARTS} }}")
            asked[f"r{start}"] = (f"relationships({start})", incident(graph, start))
            fields.append(f"r{start}: relationships(entityId: {literal(ids[start])}) {{ srcId dstId type }}")
        answers = self._read(fields)
        numbers = {id_: number for number, id_ in enumerate(ids)}
        return [self._judged(asked[name], answers[name], numbers) for name in asked]

    def make(self, graph: Graph) -> list[str]:
        """Ids of the entities, by number."""
        entities = [
            f'e{n}: createEntity(input: {{kind: "walk", props: {{n: {n}}}}}) {{ id }}' for n in range(graph.size)
        ]
        made = self._write(entities)
        ids = [str(made[f"e{number}"]["id"]) for number in range(graph.size)]
        edges = []
        for position, edge in enumerate(graph.edges):
            given_ = {"srcId": ids[edge.src], "dstId": ids[edge.dst], "type": edge.type}
            edges.append(f"r{position}: createRelationship(input: {literal(given_)}) {{ id }}")
        made = self._write(edges)
        gone = [f"r{n}: deleteRelationship(id: {literal(made[f'r{n}']['id'])})" for n in sorted(graph.gone_edges)]
        gone += [f"e{number}: deleteEntity(id: {literal(ids[number])})" for number in sorted(graph.gone_entities)]
        self._write(gone)
        return ids

    def _write(self, fields: Sequence[str]) -> dict[str, Any]:
        return ask(self.client, f"mutation {{ {' '.join(fields)} }}", what=f"{self.where}: write") if fields else {}

    def _read(self, fields: Sequence[str]) -> dict[str, Any]:
        """Answers by alias: the data, or the code of the error."""
        found: dict[str, Any] = {}
        for start in range(0, len(fields), 20):  # a query has a limit of tokens
            body = self._settled(f"{{ {' '.join(fields[start : start + 20])} }}")
            found |= body.get("data") or {}
            found |= {error["path"][0]: error["extensions"]["code"] for error in body.get("errors") or []}
        return found

    def _settled(self, query: str) -> dict[str, Any]:
        """The answer, once the graph does not say that it is behind; the last one if it goes on saying so."""
        answers: list[Response] = []

        def there() -> bool:
            answers.append(assert_no_crash(self.client.graphql(query), self.where))
            assert answers[-1].status == 200, shown(answers[-1])
            return answers[-1].error_code != "UNAVAILABLE"

        wait_until(there, BEHIND_S)
        return document(answers[-1])

    def _judged(self, asked: tuple[str, Found | None], answer: Any, numbers: Mapping[str, int]) -> Walk:
        if isinstance(answer, str):
            return Walk(self.where, asked[0], asked[1], None, f"answers {answer}")
        return Walk(self.where, asked[0], asked[1], None if answer is None else _found(answer, numbers))


def _found(answer: Any, numbers: Mapping[str, int]) -> Found:
    """An id that is none of the graph's is -1."""
    whole = answer if isinstance(answer, dict) else {"entities": [], "relationships": answer, "truncated": False}
    return Found(
        tuple(numbers.get(each["id"], -1) for each in whole["entities"]),
        tuple(
            (numbers.get(e["srcId"], -1), numbers.get(e["dstId"], -1), str(e["type"])) for e in whole["relationships"]
        ),
        bool(whole["truncated"]),
    )


def explore(
    judge: Callable[[Sequence[Walk]], list[str]], places: Sequence[Place], seed_: int
) -> tuple[list[str], Graph | None, int]:
    """Generated graphs at every place: (problems, the smallest graph that shows them, walks that were judged).

    The same seed tries the same graphs. What is tried while a counterexample is made smaller is bounded by time."""
    tried: dict[Graph, list[str]] = {}
    walked = 0
    ends: list[float] = []

    def problems_of(graph: Graph) -> list[str]:
        nonlocal walked
        if graph not in tried:
            if ends and time.monotonic() > ends[0]:
                return tried.setdefault(graph, [])
            walks = [walk for place in places for walk in place.walk(graph)]
            walked += len(walks)
            tried[graph] = judge(walks)
            if tried[graph] and not ends:
                ends.append(time.monotonic() + SHRINK_S)
        return tried[graph]

    found = smallest(graphs(), lambda graph: bool(problems_of(graph)), seed_, EXAMPLES)
    return (tried[found], found, walked) if found is not None else ([], None, walked)


def told(graph: Graph) -> str:
    """A graph as evidence."""
    edges = [f"{edge.src}-[{edge.type}]->{edge.dst}" for edge in graph.edges]
    parts = {"entities": graph.size, "relationships": edges}
    parts |= {"deleted entities": sorted(graph.gone_entities), "deleted relationships": sorted(graph.gone_edges)}
    return json.dumps(parts, ensure_ascii=False)

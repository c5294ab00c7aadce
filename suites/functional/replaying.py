"""FUN-06: replay sequences at nodes and at the reference, and find the shortest that is answered differently."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from environments.contract import Client, vacuous
from suites.exchange import assert_no_crash, document, shown
from suites.functional.generated import smallest
from suites.functional.metadata import Answer, Doc, Reference, Session, Step
from suites.functional.sequences import corners, sequences

EXAMPLES = 25
SHRINK_S = 25.0  # how long a counterexample may be made smaller
SHOWN = 300  # characters of an answer
ENTITY = "{ id kind labels props version createdAt updatedAt }"
RELATIONSHIP = "{ id srcId dstId type props createdAt }"
CONTENT = {"kind": "String", "labels": "[String!]", "props": "JSON"}

# what is asked: (operation, field, name of the input object if it takes one, arguments and their types, selection)
FIELDS: dict[str, tuple[str, str, str, dict[str, str], str]] = {
    "create": ("mutation", "createEntity", "input", {**CONTENT, "kind": "String!", "id": "ID"}, ENTITY),
    "update": ("mutation", "updateEntity", "input", CONTENT, ENTITY),
    "delete": ("mutation", "deleteEntity", "", {}, ""),
    "relate": (
        "mutation",
        "createRelationship",
        "input",
        {"src": "ID!", "dst": "ID!", "type": "String!", "props": "JSON"},
        RELATIONSHIP,
    ),
    "unrelate": ("mutation", "deleteRelationship", "", {}, ""),
    "read": ("query", "entity", "", {}, ENTITY),
    "list": ("query", "entities", "", {"kind": "String", "limit": "Int", "offset": "Int"}, ENTITY),
    "search": ("query", "searchEntities", "", {"text": "String!", "limit": "Int"}, ENTITY),
    "incident": ("query", "relationships", "", {"id": "ID"}, RELATIONSHIP),
}
RENAMED = {("relate", "src"): "srcId", ("relate", "dst"): "dstId", ("incident", "id"): "entityId"}


def request(do: str, given: Doc) -> bytes:
    """The body of one operation. What is not given is absent from it; a number beyond a double is written as one."""
    operation, field, wrapped, types, selection = FIELDS[do]
    outside = {} if do in ("create", "incident") else {"id": "ID!"}
    declared = [f"${name}: {type_}" for name, type_ in {**outside, **types}.items() if name in given]
    inner = ", ".join(f"{RENAMED.get((do, name), name)}: ${name}" for name in types if name in given)
    own = ["id: $id"] if outside and "id" in given else []
    passed = [*own, f"{wrapped}: {{{inner}}}"] if wrapped else [*own, *([inner] if inner else [])]
    query = f"{operation} Q({', '.join(declared)}) {{ {field}({', '.join(passed)}) {selection} }}"
    return json.dumps({"query": query, "variables": given}).replace("Infinity", "1e400").encode()


class Replay(Session):
    """A node; where: for the evidence."""

    def __init__(self, where: str, client: Client) -> None:
        super().__init__()
        self.where, self.client = where, client

    def answer(self, do: str, given: Doc) -> Answer:
        headers = {"Content-Type": "application/json"}
        found = self.client.data("POST", "/graphql", body=request(do, given), headers=headers)
        assert_no_crash(found, f"{self.where}: {do} {json.dumps(given)[:SHOWN]}")
        assert found.status == 200, f"{self.where}: {do}: {shown(found)}"
        if found.error_code is not None:
            return Answer(code=found.error_code)
        return Answer(document(found)["data"][FIELDS[do][1]])


Answers = dict[str, list[str]]  # place -> canonical answers, in order of the steps


def judge_answers(steps: Sequence[Step], expected: Sequence[str], found: Answers) -> list[str]:
    """Every place answers every step as the reference does."""
    if not found or not steps:
        vacuous("no sequence was replayed anywhere")
    problems = []
    for where, answers in found.items():
        if len(answers) != len(steps):
            problems.append(f"{where}: {len(answers)} answers to {len(steps)} operations")
        for number, (asked, wanted, got) in enumerate(zip(steps, expected, answers, strict=False), start=1):
            if wanted != got:
                problems.append(f"{where}: {number}. {str(asked)[:SHOWN]}: {difference(wanted, got)}")
    return problems


def difference(wanted: str, got: str) -> str:
    """Both answers, from shortly before the point where they part."""
    same = next((n for n, (one, two) in enumerate(zip(wanted, got, strict=False)) if one != two), 0)
    start = max(0, same - 60)
    head = "..." if start else ""
    return f"expected {head}{wanted[start : start + SHOWN]}, found {head}{got[start : start + SHOWN]}"


Place = Callable[[], Replay]  # a fresh replay at a node


class Trial:
    """What was tried, and the bound on making a counterexample smaller."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.tried: dict[tuple[Step, ...], list[str]] = {}
        self.judged = 0  # answers that have objects in them
        self.ends_s: float | None = None

    def problems(self, steps: tuple[Step, ...]) -> list[str]:
        if steps not in self.tried:
            if self.ends_s is not None and time.monotonic() > self.ends_s:
                return []
            expected = Reference().run(steps)
            replays = [place() for place in self.places]
            found = {replay.where: replay.run(steps) for replay in replays}
            self.judged += sum(each.startswith(("{", "[{")) for each in expected) * len(found)
            self.tried[steps] = judge_answers(steps, expected, found)
            if self.tried[steps] and self.ends_s is None:
                self.ends_s = time.monotonic() + SHRINK_S
        return self.tried[steps]

    def smaller(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Leave out what the difference does not need: halves first, then single operations."""
        size = len(steps) // 2
        while size:
            start = 0
            while start < len(steps):
                shorter = steps[:start] + steps[start + size :]
                if shorter and self.problems(shorter):
                    steps = shorter
                else:
                    start += size
            size //= 2
        return steps


def explore(places: Sequence[Place], seed_: int) -> tuple[list[str], tuple[Step, ...], int]:
    """Corners, then generated sequences: (problems, the shortest sequence that shows them, how many answers that hold
    objects were judged)."""
    trial = Trial(places)
    for corner in corners():
        if trial.problems(tuple(corner)):
            shortest = trial.smaller(tuple(corner))
            return trial.tried[shortest], shortest, trial.judged
    found = smallest(sequences(), lambda steps: bool(trial.problems(steps)), seed_, EXAMPLES)
    return (trial.tried[found], found, trial.judged) if found is not None else ([], (), trial.judged)


def told(steps: Sequence[Step]) -> list[Any]:
    """A sequence as evidence."""
    return [{each.do: each.arguments if len(each.given) < 2000 else each.given[:2000]} for each in steps]

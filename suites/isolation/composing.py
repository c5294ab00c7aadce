"""ISO-04: the shapes in which one request can ask for several objects, and the judge of what each slot answered.

A slot is one place of a request that names one id: an alias, a member of a batch, a fragment, a nested field. Whatever
the shape, and whatever stands in the other slots, a slot of an own id gives the object and any other gives null."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.contract import Client, Response, untestable, vacuous
from suites.exchange import assert_no_crash, document, parsed, shown
from suites.product import literal

ORDERS: Mapping[str, Sequence[str]] = {
    "own first": ("own", "foreign", "absent", "own"),
    "foreign first": ("foreign", "own", "absent", "foreign", "own"),
    "absent first": ("absent", "foreign", "own"),
    "mostly own": ("own", "own", "own", "foreign", "own", "absent"),
}
TYPES = ("entity", "relationship", "investigation", "run")
SHOWN: Mapping[str, str] = {
    "entity": "id props labels",
    "relationship": "id props src { id props } dst { id props }",
    "investigation": "id name description entities { id props }",
    "run": "id runbook state",
}


@dataclass(frozen=True)
class Ids:
    """One id of each type, of one owner."""

    entity: str
    relationship: str
    investigation: str
    run: str

    def of(self, type_: str) -> str:
        return str(getattr(self, type_))


@dataclass(frozen=True)
class Slot:
    """shape, order, position: where it stands; asked: whose id (own, foreign, absent); answer: what it gave, None for
    null; code: of an error that took the place of an answer."""

    shape: str
    order: str
    position: int
    asked: str
    answer: Any
    code: str | None = None
    object: str = ""  # type and id of what it names, for the reader
    by: str = ""  # who asked


Shape = Callable[[Client, Sequence[tuple[str, str]]], Sequence[Any]]  # (type, id) of each slot -> answer of each slot


def _data(answer: Response, what: str) -> dict[str, Any]:
    assert_no_crash(answer, what)
    body = document(answer)
    found = body.get("data")
    assert answer.status == 200 and isinstance(found, dict), f"{what}: {shown(answer)}"
    return found


def _post(client: Client, body: Any, what: str) -> Response:
    return assert_no_crash(client.data("POST", "/graphql", json=body), what)


def aliases(client: Client, slots: Sequence[tuple[str, str]]) -> Sequence[Any]:
    fields = [f"a{n}: {type_}(id: {literal(id_)}) {{ {SHOWN[type_]} }}" for n, (type_, id_) in enumerate(slots)]
    data = _data(client.graphql(f"{{ {' '.join(fields)} }}"), "aliases")
    return [data[f"a{n}"] for n in range(len(slots))]


def variables(client: Client, slots: Sequence[tuple[str, str]]) -> Sequence[Any]:
    """Ids in variables, the fields under conditions that are all met."""
    given = ", ".join(f"$v{n}: ID!" for n in range(len(slots)))
    fields = [f"a{n}: {type_}(id: $v{n}) @include(if: $yes) {{ {SHOWN[type_]} }}" for n, (type_, _) in enumerate(slots)]
    query = f"query Many({given}, $yes: Boolean!) {{ {' '.join(fields)} }}"
    values = {f"v{n}": id_ for n, (_, id_) in enumerate(slots)} | {"yes": True}
    data = _data(client.graphql(query, values), "variables")
    return [data[f"a{n}"] for n in range(len(slots))]


def fragments(client: Client, slots: Sequence[tuple[str, str]]) -> Sequence[Any]:
    """Every other slot in a named fragment, the rest in inline ones; the selections in fragments of their types."""
    spreads, named = [], []
    for n, (type_, id_) in enumerate(slots):
        field = f"a{n}: {type_}(id: {literal(id_)}) {{ ...Of{type_} }}"
        if n % 2:
            named.append(f"fragment Slot{n} on Query {{ {field} }}")
            spreads.append(f"...Slot{n}")
        else:
            spreads.append(f"... on Query {{ {field} }}")
    used = sorted({type_ for type_, _ in slots})
    selections = [f"fragment Of{type_} on {type_.capitalize()} {{ {SHOWN[type_]} }}" for type_ in used]
    data = _data(client.graphql(f"{{ {' '.join(spreads)} }} {' '.join([*named, *selections])}"), "fragments")
    return [data[f"a{n}"] for n in range(len(slots))]


def global_ids(client: Client, slots: Sequence[tuple[str, str]]) -> Sequence[Any]:
    """`node(id)`: the id alone, whatever it is of."""
    parts = " ".join(f"... on {type_.capitalize()} {{ {SHOWN[type_]} }}" for type_ in TYPES)
    parts = parts.replace("runbook state", "runbook")
    fields = [f"a{n}: node(id: {literal(id_)}) {{ {parts} }}" for n, (_, id_) in enumerate(slots)]
    data = _data(client.graphql(f"{{ {' '.join(fields)} }}"), "node(id)")
    return [data[f"a{n}"] for n in range(len(slots))]


def batch(client: Client, slots: Sequence[tuple[str, str]]) -> Sequence[Any]:
    """A list of requests in one body; `untestable` where batches are refused."""
    body = [{"query": f"{{ a: {type_}(id: {literal(id_)}) {{ {SHOWN[type_]} }} }}"} for type_, id_ in slots]
    answer = _post(client, body, "batch")
    if answer.status == 400 and answer.error_code == "INVALID":
        untestable("batches: the deployment refuses a list of requests")
    answers = parsed(answer)
    assert answer.status == 200 and isinstance(answers, list) and len(answers) == len(slots), f"batch: {shown(answer)}"
    assert all(isinstance(each, dict) and isinstance(each.get("data"), dict) for each in answers), (
        f"batch: an answer without data: {shown(answer)}"
    )
    return [each["data"].get("a") for each in answers]


def several_operations(client: Client, slots: Sequence[tuple[str, str]]) -> Sequence[Any]:
    """One document with an operation for each slot, sent once for each, by its name."""
    named = [
        f"query Q{n} {{ a: {type_}(id: {literal(id_)}) {{ {SHOWN[type_]} }} }}" for n, (type_, id_) in enumerate(slots)
    ]
    found = []
    for n in range(len(slots)):
        answer = _post(client, {"query": " ".join(named), "operationName": f"Q{n}"}, "operationName")
        found.append(_data(answer, f"operation Q{n}")["a"])
    return found


SHAPES: Mapping[str, Shape] = {
    "aliases": aliases,
    "variables": variables,
    "fragments": fragments,
    "node": global_ids,
    "batch": batch,
    "operations": several_operations,
}


def judge_slots(slots: Sequence[Slot]) -> list[str]:
    """An own id gives the object, a foreign or absent one null, in every slot. Vacuous if no own object was served."""
    problems = []
    for slot in slots:
        where = f"{slot.by or 'somebody'} asks by {slot.shape}, {slot.order}, slot {slot.position}"
        where += f" ({slot.asked} id{f', {slot.object}' if slot.object else ''})"
        if slot.code is not None:
            problems.append(f"{where}: refused with {slot.code} in place of an answer")
        elif slot.asked == "own" and slot.answer is None:
            problems.append(f"{where}: the own object was not served")
        elif slot.asked != "own" and slot.answer is not None:
            problems.append(f"{where}: served {json.dumps(slot.answer)[:200]}")
    if not any(slot.asked == "own" and slot.answer is not None for slot in slots) and not problems:
        vacuous("no own object was served: the slots show nothing")
    return problems


def persisted(client: Client, query: str, variables: Mapping[str, Any] | None = None, *, text: bool) -> Response:
    """A persisted query by its hash; `text`: with the document, which registers it."""
    sha256 = hashlib.sha256(query.encode()).hexdigest()
    body: dict[str, Any] = {
        "variables": dict(variables or {}),
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256}},
    }
    return _post(client, body | ({"query": query} if text else {}), "persisted query")

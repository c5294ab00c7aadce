"""Verdicts of the sync checks: pure functions over a history and what the replicas hold in the end.

`Indeterminate` operations (no answer came) may have happened once or not at all, and never twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from environments.contract import vacuous
from suites.sync.history import STATE_FIELDS, History, Op, Replica, canonical, expectations


def acknowledged(ops: Sequence[Op]) -> list[Op]:
    return [op for op in ops if op.outcome == "ok"]


def _needs_acknowledged(history: History) -> None:
    if not acknowledged(history.ops):
        vacuous("no write was acknowledged")


def judge_lost(history: History, final: Replica) -> list[str]:
    """acked minus final is empty: creations, the last update, deletions and relationships."""
    _needs_acknowledged(history)
    held = {str(doc["props"].get("key")): doc for doc in final.entities}
    problems = []
    for key, expected in expectations(history.ops).items():
        doc = held.get(key)
        if doc is None:
            if expected.must_exist:
                problems.append(f"lost: {key} is acknowledged and not at {final.name}")
        elif not expected.may_exist:
            problems.append(f"lost deletion: {key} is deleted and still at {final.name}")
        elif doc["props"].get("value") not in expected.values:
            allowed = sorted(expected.values)
            problems.append(f"lost update: {key} is {doc['props'].get('value')} at {final.name}, expected {allowed}")
    linked = {str(doc["props"].get("key")) for doc in final.relationships}
    for op in acknowledged(history.ops):
        if op.kind == "relate" and op.key not in linked and _ends_stay(op, history.ops):
            problems.append(f"lost: relationship {op.key} is acknowledged and not at {final.name}")
    return problems


def _ends_stay(op: Op, ops: Sequence[Op]) -> bool:
    """A relationship goes with its entities (`note` names both): it must stay only if neither may be gone."""
    ends = op.note.split(">")
    return not any(o.kind == "delete" and o.outcome != "refused" and o.key in ends for o in ops)


def judge_phantoms(history: History, final: Replica) -> list[str]:
    """final minus attempted is empty: by key, identifier and value. Vacuous if nothing arrived or was acknowledged."""
    _needs_acknowledged(history)
    if not final.entities:
        vacuous(f"nothing is at {final.name}")
    attempted = {op.key: op for op in history.ops if op.kind == "create" and op.outcome != "refused"}
    identifiers = {op.id for op in history.ops if op.id}
    untold = {op.key for op in attempted.values() if op.id is None}
    values: dict[str, set[int]] = {}
    for op in history.ops:
        if op.outcome != "refused":
            values.setdefault(op.key, set()).add(op.value)
    problems = []
    for doc in final.entities:
        key = str(doc["props"].get("key"))
        if key not in attempted:
            problems.append(f"phantom: {key} at {final.name} was never written")
        elif doc["id"] not in identifiers and key not in untold:
            problems.append(f"phantom: {key} at {final.name} under another id {doc['id']}")
        elif doc["props"].get("value") not in values[key]:
            problems.append(f"phantom: {key} at {final.name} has value {doc['props'].get('value')}, never written")
    related = {op.key for op in history.ops if op.kind == "relate" and op.outcome != "refused"}
    for doc in final.relationships:
        if str(doc["props"].get("key")) not in related:
            problems.append(f"phantom: relationship {doc['props'].get('key')} at {final.name} was never written")
    return problems


def judge_duplicates(history: History, final: Replica) -> list[str]:
    """Each object once, by the suite's key, which the product does not know to be unique."""
    _needs_acknowledged(history)
    problems = []
    for what, docs in (("entity", final.entities), ("relationship", final.relationships)):
        counted = Counter(str(doc["props"].get("key")) for doc in docs)
        problems += [f"{what} {key} is {n} times at {final.name}" for key, n in sorted(counted.items()) if n > 1]
    return problems


def judge_effects(history: History, events: Mapping[str, int]) -> list[str]:
    """`events`: object id -> how often the parent told of a change. At most once per operation that may have been."""
    acked = [op for op in acknowledged(history.ops) if op.id]
    if not acked or not any(events.get(str(op.id)) for op in acked):
        vacuous("no event of an acknowledged write was observed")
    possible = Counter(op.id for op in history.ops if op.outcome != "refused" and op.id)
    return [
        f"{identifier}: {events[identifier]} effects of {possible[identifier]} operations"
        for identifier in sorted(events)
        if identifier in possible and events[identifier] > possible[identifier]
    ]


def judge_converged(replicas: Sequence[Replica], took_s: float, limit_s: float) -> list[str]:
    """Equal canonical digests on all replicas, in time. Vacuous with fewer than two, or nothing in them."""
    if len(replicas) < 2 or not any(replica.entities for replica in replicas):
        vacuous("fewer than two replicas hold anything")
    first, *others = replicas
    problems = []
    for other in others:
        if other.digest != first.digest:
            where = "; ".join(differences(first, other)) or "relationships"
            problems.append(f"{first.name} and {other.name} differ: {where}")
    if took_s > limit_s:
        problems.append(f"took {took_s:.1f} s, more than {limit_s:g} s")
    return problems


def differences(one: Replica, two: Replica, limit: int = 5) -> list[str]:
    """Which objects differ, by identifier."""
    left = {str(doc["id"]): canonical(doc, STATE_FIELDS) for doc in one.entities}
    right = {str(doc["id"]): canonical(doc, STATE_FIELDS) for doc in two.entities}
    found = []
    for identifier in sorted(set(left) | set(right)):
        if left.get(identifier) != right.get(identifier):
            found.append(f"{left.get(identifier, 'nothing')[:300]} / {right.get(identifier, 'nothing')[:300]}")
    return found[:limit]


def judge_resumed(arrived_before: int, arrived: int, expected: int, took_s: float, limit_s: float) -> list[str]:
    """After heal the backlog arrives in time. Vacuous if the partition held nothing back, or nothing was written."""
    if expected == 0:
        vacuous("nothing was written during the partition")
    if arrived_before >= expected:
        vacuous("everything had arrived before the heal: the partition held nothing back")
    if arrived < expected:
        return [f"{arrived} of {expected} arrived in {took_s:.1f} s after the heal"]
    return [] if took_s <= limit_s else [f"arrived after {took_s:.1f} s, more than {limit_s:g} s"]

"""ISO-06: the seeded interleaving of two tenants over a pool, and its judge."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from environments.contract import HttpSession, Node, TransportError, vacuous
from environments.contract.exchanges import EXCHANGES

ABSENT = "00000000-0000-4000-8000-000000000000"  # an id that gets as far as the database, and fails there
Step = tuple[int, str]  # which side, what it does
FLOOR = 5_000  # operations that must have completed before their silence means anything


@dataclass(frozen=True)
class Operation:
    """One operation of the interleaving. leak: what of another tenant the answer held; None for none."""

    tenant: str
    kind: str
    status: int | None  # None: aborted on purpose or no answer
    own_seen: bool
    leak: str | None


@dataclass(frozen=True)
class Side:
    tenant: str
    token: str
    mark: str
    entity: str


KINDS = {  # weights
    "read": 30,
    "list": 14,
    "foreign": 18,
    "search": 10,
    "write": 4,
    "failed-write": 10,
    "invalid": 5,
    "unauthenticated": 4,
    "abort": 5,
}


def _body(kind: str, own: Side, other: Side) -> dict[str, object]:
    row = "{ id tenantId props }"
    broken = f'srcId: "{own.entity}", dstId: "{ABSENT}", type: "x"'
    queries = {
        "read": f'{{ entity(id: "{own.entity}") {row} }}',
        "list": f'{{ entities(kind: "pool", limit: 20) {row} }}',
        "foreign": f'{{ entity(id: "{other.entity}") {row} }}',
        "search": f'{{ searchEntities(text: "pool", limit: 20) {row} }}',
        "write": f'mutation {{ updateEntity(id: "{own.entity}", input: {{labels: ["seen"]}}) {row} }}',
        "failed-write": f"mutation {{ createRelationship(input: {{{broken}}}) {{ id }} }}",
        "invalid": "{ entity { id",
        "unauthenticated": f'{{ entities(kind: "pool") {row} }}',
        "abort": f'{{ entities(limit: 1000) {row} graphNeighborhood(startEntityId: "{own.entity}") {{ truncated }} }}',
    }
    return {"query": queries[kind]}


def _leak(kind: str, status: int, body: bytes, own: Side, other: Side) -> str | None:
    if other.mark.encode() in body:
        return f"canary of {other.tenant}"
    if kind == "unauthenticated" and status != 401:
        return f"{status} without a token"
    if kind == "read" and status == 200 and own.mark.encode() not in body:
        return "the own object was not served (another tenant's context?)"
    if f'"{other.tenant}"'.encode() in body:
        return f"a row of {other.tenant}"
    if kind == "list":
        rows = (json.loads(body).get("data") or {}).get("entities") or []
        if not rows:
            return "the own list was empty (another tenant's context?)"
    return None


def perform(session: HttpSession, url: str, sides: tuple[Side, Side], step: Step) -> Operation:
    """Do one step, and see what its answer holds of the other side."""
    index, kind = step
    own, other = sides[index], sides[1 - index]
    headers = {} if kind == "unauthenticated" else {"Authorization": f"Bearer {own.token}"}
    timeout_s = 0.004 if kind == "abort" else 20.0  # too short on purpose: the client goes away mid-request
    try:
        answer = session.request("POST", url, headers=headers, json=_body(kind, own, other), timeout_s=timeout_s)
    except TransportError:
        return Operation(own.tenant, kind, None, False, None)
    leak = _leak(kind, answer.status, answer.body, own, other)
    if leak:
        EXCHANGES.cite(f"{kind} of {own.tenant}: {leak}", answer)
    return Operation(own.tenant, kind, answer.status, own.mark.encode() in answer.body, leak)


def interleave(
    node: Node,
    sides: tuple[Side, Side],
    seed: int,
    *,
    count: int = FLOOR + 200,
    threads: int = 24,
    deadline_s: float = 120,
) -> list[Operation]:
    """`count` operations drawn from `seed`, by threads that each keep their own connection alive; fewer after a leak,
    which settles it."""
    draw = random.Random(seed)
    plan = [(draw.randrange(2), draw.choices(list(KINDS), list(KINDS.values()))[0]) for _ in range(count)]
    cursor, lock, ends = iter(plan), threading.Lock(), time.monotonic() + deadline_s
    over = threading.Event()

    def work(_: int) -> list[Operation]:
        session, done = node.http(), []
        while time.monotonic() < ends and not over.is_set():
            with lock:
                step = next(cursor, None)
            if step is None:
                break
            done.append(perform(session, node.url("data") + "/graphql", sides, step))
            if done[-1].leak:
                over.set()
        return done

    with ThreadPoolExecutor(threads) as pool:
        try:
            return [operation for part in pool.map(work, range(threads)) for operation in part]
        finally:
            over.set()  # Ctrl-C does not wait for what is left of the plan


def judge_interleaving(history: Sequence[Operation], floor: int = FLOOR) -> list[str]:
    """Leaks, crashes, and answers lost without an abort on purpose; vacuous below the floor or with a blind scan."""
    leaks = Counter(f"{o.kind} of {o.tenant}: {o.leak}" for o in history if o.leak)
    crashes = Counter(f"{o.kind} of {o.tenant} answered {o.status}" for o in history if (o.status or 0) >= 500)
    silent = Counter(f"{o.kind} of {o.tenant} got no answer" for o in history if o.status is None and o.kind != "abort")
    problems = [what if n == 1 else f"{what} ({n} times)" for what, n in (leaks + crashes + silent).items()]
    if problems:
        return problems
    if len(history) < floor:
        vacuous(f"{len(history)} of {floor} operations completed")
    seen = {o.tenant for o in history if o.own_seen}
    if len(seen) < 2:
        vacuous(f"only {sorted(seen)} ever saw its own canary")
    if not any(o.kind == "abort" and o.status is None for o in history):
        vacuous("no request was aborted midway")
    return problems


def summary(history: Sequence[Operation]) -> Mapping[str, int]:
    return dict(Counter(f"{o.kind}:{o.status}" for o in history))

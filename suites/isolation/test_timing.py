"""ISO-03: a foreign id takes no longer than an absent one."""

from __future__ import annotations

import time
import uuid

from environments.contract import Client, Deployment, Evidence, requirement
from suites.exchange import assert_no_crash, conclude, data_of, document, shown
from suites.isolation.matrix import Objects, plant
from suites.isolation.parties import canary, parties
from suites.isolation.timing import EFFECT_BOUND_S, P_BOUND, PAIRS, Timing, compare, judge_timing, told

LIMIT_S = 140.0  # for all operations, more pairs included; what one leaves is for those after it
WARM_UP = 10

# name -> (which id of the planted objects, query). Ids go in variables: a text that differs from request to request is
# parsed each time, and one that does not is remembered.
OPERATIONS: dict[str, tuple[str, str]] = {
    "entity": ("entity", "query($id: ID!) { entity(id: $id) { id props } }"),
    "relationship": ("relationship", "query($id: ID!) { relationship(id: $id) { id } }"),
    "node": ("investigation", "query($id: ID!) { node(id: $id) { id } }"),
    "updateEntity": ("entity", "mutation($id: ID!) { updateEntity(id: $id, input: {labels: []}) { id } }"),
}


def _once(query: str, client: Client, id_: str) -> float:
    """Seconds; of an answer that is the one for an id of nobody's."""
    answer = assert_no_crash(client.graphql(query, {"id": id_}), "timed request")
    data = document(answer).get("data")
    served = not isinstance(data, dict) or any(value is not None for value in data.values())
    assert answer.status == 200 and not served, f"timed request: {shown(answer)}"
    assert answer.error_code in (None, "NOT_FOUND"), f"timed request: {shown(answer)}"
    return answer.elapsed_s


def _control(query: str, client: Client, own: str) -> None:
    """The same request with an own id shows the object: what is timed is the way to one."""
    data = data_of(client.graphql(query, {"id": own}), "control: the own object")
    assert all(isinstance(value, dict) and value.get("id") == own for value in data.values()), f"control: {data}"


def _measure(name: str, client: Client, theirs: Objects, seed: int, limit_s: float) -> Timing:
    """At least PAIRS pairs, and more while noise hides the bound and there is time."""
    attribute, ask = OPERATIONS[name]
    foreign = str(getattr(theirs, attribute))
    ends = time.monotonic() + limit_s
    foreign_s: list[float] = []
    absent_s: list[float] = []
    for n in range(WARM_UP):
        _once(ask, client, foreign if n % 2 else str(uuid.uuid4()))
    while True:
        for n in range(PAIRS):
            absent = str(uuid.uuid4())
            if n % 2:
                foreign_s.append(_once(ask, client, foreign))
                absent_s.append(_once(ask, client, absent))
            else:
                absent_s.append(_once(ask, client, absent))
                foreign_s.append(_once(ask, client, foreign))
        found = compare(name, foreign_s, absent_s, seed)
        told_apart = abs(found.effect_s) >= EFFECT_BOUND_S and found.p <= P_BOUND
        if told_apart or found.resolution_s <= EFFECT_BOUND_S or time.monotonic() > ends:
            return found


@requirement("ISO-03")
def test_time_does_not_tell_foreign_from_absent(deployment: Deployment, evidence: Evidence) -> None:
    """Reads and a write, 300 interleaved pairs each: the median difference stays below half a millisecond, or is no
    more than chance gives."""
    one, two = parties(deployment.subject, "timed")
    theirs, mine = (plant(party.client, party.tenant, canary("timed", party.tenant)) for party in (two, one))
    for attribute, query in OPERATIONS.values():
        _control(query, one.client, str(getattr(mine, attribute)))
    timings, ends = [], time.monotonic() + LIMIT_S
    for left, name in zip(range(len(OPERATIONS), 0, -1), OPERATIONS, strict=True):
        timings.append(_measure(name, one.client, theirs, deployment.seed, (ends - time.monotonic()) / left))
        evidence.add(name, told(timings[-1]))
    conclude(
        evidence,
        judge_timing(timings),
        f"no median difference of {EFFECT_BOUND_S * 1e3:g} ms",
        "; ".join(f"{t.operation} {t.effect_s * 1e3:+.3f} ms (p = {t.p:.2f})" for t in timings),
    )

"""ISO-02: whether another tenant's object exists can't be told from the answer."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from environments.contract import Deployment, Evidence, Response, requirement
from suites.exchange import conclude, shown, signed_in, two_tenants
from suites.isolation.matrix import ROWS, Objects, Row, assert_out_of_reach, own_answer, plant

PAIRED = [row for row in ROWS if row.expect in {"null", "not-found"} and "canary" not in row.operation]
IGNORED_HEADERS = {"date", "x-request-id", "traceparent", "server-timing"}


def _canonical(answer: Response, target: Objects) -> tuple[int, dict[str, str], bytes]:
    body = answer.body
    for field in ("entity", "other", "relationship", "investigation", "run"):
        body = body.replace(getattr(target, field).encode(), b"<id>")
    headers = {k.lower(): v for k, v in answer.headers.items() if k.lower() not in IGNORED_HEADERS}
    return answer.status, headers, body


def judge_same(pairs: list[tuple[str, object, object]]) -> list[str]:
    """`pairs`: (what, canonical answer for a foreign id, canonical answer for an absent id)."""
    from environments.contract import vacuous

    if not pairs:
        vacuous("no pair was probed")
    return [
        f"{what}: foreign {foreign!r} differs from absent {absent!r}"
        for what, foreign, absent in pairs
        if foreign != absent
    ]


@requirement("ISO-02")
@pytest.mark.parametrize("row", PAIRED, ids=lambda row: row.label)
def test_foreign_and_absent_ids_give_the_same_answer(deployment: Deployment, evidence: Evidence, row: Row) -> None:
    """The same operation on tenant two's id and on an id that never existed: same status, headers and bytes."""
    node = deployment.subject
    one, two = two_tenants(node)
    theirs = plant(signed_in(node, "admin", two), two, f"canary-{uuid.uuid4().hex}")
    absent = dataclasses.replace(
        theirs, **{f: _absent(getattr(theirs, f)) for f in ("entity", "other", "relationship", "investigation", "run")}
    )
    pairs: list[tuple[str, object, object]] = []
    for role in ("admin", "viewer"):
        client = signed_in(node, role, one)
        foreign, missing = row.attempt(client, theirs), row.attempt(client, absent)
        for answer in (foreign, missing):
            assert_out_of_reach(row, role, answer)
        evidence.add(role, {"foreign": shown(foreign), "absent": shown(missing)})
        pairs.append((f"{row.label} as {role}", _canonical(foreign, theirs), _canonical(missing, absent)))
    client = signed_in(node, "admin", one)
    own = plant(client, one, f"canary-{uuid.uuid4().hex}")
    control = _canonical(own_answer(row, client, own), own)
    assert control[2] != pairs[0][2][2], "the operation answers the same for an own id: it shows nothing"  # type: ignore[index]
    conclude(evidence, judge_same(pairs), "equal answers", f"{len(pairs)} pairs, equal; own id differs")


def _absent(identifier: str) -> str:
    """An id of the same form and length that no tenant has: the hex digits at the end are drawn anew."""
    fresh = uuid.uuid4().hex
    tail = 0
    while tail < min(12, len(identifier)) and identifier[-1 - tail] in "0123456789abcdef":
        tail += 1
    return identifier[: len(identifier) - tail] + fresh[:tail] if tail else str(uuid.uuid4())

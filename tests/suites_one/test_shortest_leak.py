"""From a leak to the shortest sequence that leaks, on pools that misbehave in known ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from environments.contract import Response
from suites.isolation.pool import Operation, Side, perform
from suites.isolation.shortest import ROUNDS, shortest

SIDES = (Side("acme", "t-acme", "mark-acme", "1"), Side("globex", "t-globex", "mark-globex", "2"))


class Pool:
    """One connection. poisons: whether a failed write by this tenant leaves it to the next request of another."""

    def __init__(self, poisons: Callable[[str], bool]) -> None:
        self.poisons, self.left = poisons, ""
        self.requests = 0

    def request(self, method: str, url: str, **given: Any) -> Response:
        self.requests += 1
        token, query = given["headers"].get("Authorization", ""), given["json"]["query"]
        if not token:
            return Response(401, {}, b"{}", 0.0)
        tenant = token.rpartition("t-")[2]
        seen, self.left = self.left or tenant, ""
        if "createRelationship" in query:
            self.left = tenant if self.poisons(tenant) else ""
            return Response(200, {}, b'{"errors": [{"extensions": {"code": "NOT_FOUND"}}]}', 0.0)
        row = {"id": "1", "tenantId": tenant, "props": {"mark": f"mark-{seen}"}}
        return Response(200, {}, json.dumps({"data": {"entity": row, "entities": [row]}}).encode(), 0.0)


class Node:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def http(self) -> Pool:
        return self.pool

    def url(self, role: str) -> str:
        return "http://10.0.0.1:4000"


def found(kind: str = "read", tenant: str = "acme") -> Operation:
    return Operation(tenant, kind, 200, False, "canary of the other")


def test_the_failed_write_before_the_read_is_found() -> None:
    pool = Pool(lambda _: True)
    result = shortest(Node(pool), SIDES, found(), 1)  # type: ignore[arg-type]
    assert result is not None
    assert list(result.steps) == [("globex", "failed-write"), ("acme", "read")]
    assert (result.leaks, result.rounds) == (ROUNDS, ROUNDS)
    assert "failed-write by globex, then read by acme: canary of globex" in str(result)


def test_what_was_left_from_before_is_washed_away() -> None:
    pool = Pool(lambda _: False)
    pool.left = "globex"
    assert shortest(Node(pool), SIDES, found(), 1, limit_s=0.3) is None  # type: ignore[arg-type]
    assert pool.requests > ROUNDS


@pytest.mark.parametrize("kind", ["read", "list", "search"])
def test_a_sound_pool_leaks_by_no_step(kind: str) -> None:
    pool = Pool(lambda _: False)
    done = perform(pool, "http://10.0.0.1:4000/graphql", SIDES, (0, kind))  # type: ignore[arg-type]
    assert done.leak is None and done.own_seen

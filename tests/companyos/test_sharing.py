"""What a node keeps for several tenants at once: buckets, persisted queries, vectors, loaders."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from graphql import parse
from hypothesis import given
from hypothesis import strategies as st

from environments.companyos import graphql_api, persisted, retrieval
from environments.companyos.errors import ApiError
from environments.companyos.throttle import BURST_S, LOOK_S, Throttle


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 5)), min_size=1, max_size=200), st.integers(1, 50))
def test_a_tenant_never_gets_more_than_its_rate_and_one_burst(asked: list[tuple[float, int]], rate: int) -> None:
    time, taken = Time(), 0
    throttle = Throttle(lambda _: float(rate), time)
    for pause_s, units in asked:
        time.now_s += pause_s
        try:
            throttle.take("acme", units)
            taken += units
        except ApiError as error:
            assert error.code == "RATE_LIMITED" and error.status == 429
    assert taken <= rate * (BURST_S + time.now_s - 100.0) + 1e-6


def test_buckets_are_of_one_tenant_and_follow_its_plan() -> None:
    time, rates = Time(), {"acme": 1.0, "globex": None}
    throttle = Throttle(rates.get, time)
    throttle.take("acme", 2)
    with pytest.raises(ApiError):
        throttle.take("acme")
    throttle.take("globex", 10_000)
    rates["acme"] = 100.0
    time.now_s += LOOK_S
    throttle.take("acme", 50)


@pytest.mark.parametrize(
    ("query", "units"),
    [
        ("{ a: me { sub } b: me { sub } }", 2),
        ("query { ...F ...F } fragment F on Query { a: me { sub } b: me { sub } }", 4),
        ("{ ... on Query { a: me { sub } ... on Query { b: me { sub } } } }", 2),
        ("query One { a: me { sub } } query Two { a: me { sub } b: me { sub } c: me { sub } }", 3),
    ],
)
def test_every_root_field_counts_wherever_it_is_written(query: str, units: int) -> None:
    assert graphql_api.units(parse(query)) == units


def test_persisted_queries_belong_to_their_tenant() -> None:
    kept, query = persisted.PersistedQueries(), "{ me { sub } }"
    sha256 = hashlib.sha256(query.encode()).hexdigest()
    by_hash: dict[str, Any] = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256}}}
    assert persisted.query_of(kept, "acme", by_hash | {"query": query}) == query
    assert persisted.query_of(kept, "acme", by_hash) == query
    with pytest.raises(ApiError, match="once"):
        persisted.query_of(kept, "globex", by_hash)
    with pytest.raises(ApiError, match="not that of the query"):
        persisted.query_of(kept, "acme", by_hash | {"query": query + " "})
    kept.forget("acme")
    with pytest.raises(ApiError):
        persisted.query_of(kept, "acme", by_hash)


@pytest.mark.parametrize("asked", [[], {"version": 2, "sha256Hash": "a" * 64}, {"version": 1, "sha256Hash": 5}, "x"])
def test_extensions_of_another_form_are_invalid(asked: Any) -> None:
    with pytest.raises(ApiError) as refused:
        persisted.query_of(persisted.PersistedQueries(), "acme", {"extensions": {"persistedQuery": asked}})
    assert refused.value.code == "INVALID"


@given(st.text(max_size=60))
def test_a_text_is_most_like_itself(text: str) -> None:
    vector = retrieval.vector(text)
    assert retrieval.likeness(vector, vector) == pytest.approx(1.0 if len(text) > 2 else 0.0)


def test_vectors_of_two_tenants_are_two() -> None:
    vectors = retrieval.Vectors()
    docs = [
        {"tenantId": tenant, "id": "1", "version": 1, "updatedAt": "", "kind": kind, "labels": [], "props": {}}
        for tenant, kind in (("acme", "apples"), ("globex", "torpedoes"))
    ]
    first, second = (vectors.of(doc) for doc in docs)
    assert first != second and vectors.of(docs[0]) is first
    vectors.forget("acme")
    assert vectors.of(docs[0]) is not first and vectors.of(docs[1]) is second

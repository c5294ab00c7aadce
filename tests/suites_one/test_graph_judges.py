"""FUN-05 and ISO-21: the reference that walks are compared with, and judges that see what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.contract import Vacuous
from suites.functional.graphs import Edge, Found, Graph, Walk, graphs, incident, judge_walks, neighborhood
from suites.isolation.decisions import BOUND_S, Decision, judge_denials

CYCLE = Graph(5, (Edge(0, 1, "a"), Edge(2, 1, "b"), Edge(2, 0, "c"), Edge(0, 1, "a"), Edge(3, 3, "d")))


def test_the_reference_walks_both_ways_around_cycles_and_counts_hops() -> None:
    assert neighborhood(CYCLE, 0, 0) == Found((0,), ())
    assert neighborhood(CYCLE, 0, 1) == Found((0, 1, 2), ((0, 1, "a"), (2, 1, "b"), (2, 0, "c"), (0, 1, "a")))
    assert neighborhood(CYCLE, 3, 6) == Found((3,), ((3, 3, "d"),))
    assert incident(CYCLE, 3) == Found((), ((3, 3, "d"),))
    chain = Graph(4, (Edge(0, 1, "n"), Edge(2, 1, "n"), Edge(2, 3, "n")))
    assert [len((neighborhood(chain, 0, depth) or Found((), ())).entities) for depth in range(5)] == [1, 2, 3, 4, 4]
    assert neighborhood(replace(chain, gone_entities=frozenset({1})), 0, 6) == Found((0,), ())
    assert neighborhood(replace(chain, gone_entities=frozenset({1})), 1, 6) is None
    assert neighborhood(replace(chain, gone_edges=frozenset({1})), 0, 6) == Found((0, 1), ((0, 1, "n"),))


@given(graphs(), st.integers(0, 6))
def test_the_reference_is_symmetric_and_grows_with_the_depth(graph: Graph, depth: int) -> None:
    for one in graph.entities:
        near, far = neighborhood(graph, one, depth), neighborhood(graph, one, depth + 1)
        assert near is not None and far is not None and set(near.entities) <= set(far.entities)
        for other in near.entities:
            back = neighborhood(graph, other, depth)
            assert back is not None and one in back.entities


def test_walks_that_differ_are_told() -> None:
    right = Walk("core", "walk", Found((0, 1), ((0, 1, "a"),)), Found((0, 1), ((0, 1, "a"),)))
    assert judge_walks([right]) == []
    for found in (Found((0,), ()), Found((0, 1, 1), ((0, 1, "a"),)), Found((1, 0), ((0, 1, "a"),)), None):
        assert len(judge_walks([right, replace(right, found=found)])) == 1
    assert len(judge_walks([right, replace(right, found=Found((0, 1), ((1, 0, "a"),)))])) == 1
    assert len(judge_walks([right, replace(right, found=replace(right.found or Found((), ()), truncated=True))])) == 1
    assert judge_walks([right, Walk("core", "walk", None, None)]) == []
    with pytest.raises(Vacuous):
        judge_walks([replace(right, found=None, problem="answers UNAVAILABLE")])


def test_only_refusals_by_name_and_in_time_are_denials() -> None:
    served = Decision("before", "entity.read", 200, None)
    denied = Decision("killed", "entity.read", 200, "POLICY_UNAVAILABLE", 0.1)
    assert judge_denials([denied], [served]) == []
    wrong = (
        replace(denied, code=None),
        replace(denied, code="INVALID"),
        replace(denied, status=None, code=None),
        replace(denied, elapsed_s=BOUND_S + 0.1),
    )
    for each in wrong:
        assert len(judge_denials([denied, each], [served])) == 1
    assert len(judge_denials([denied], [served, replace(served, code="FORBIDDEN")])) == 1
    assert len(judge_denials([replace(denied, code="FORBIDDEN")], [served], frozenset({"POLICY_UNAVAILABLE"}))) == 1
    for nothing in (([], [served]), ([denied], [])):
        with pytest.raises(Vacuous):
            judge_denials(*nothing)

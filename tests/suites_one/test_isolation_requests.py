"""Judges of composed requests, streams, retrieval, caches on the way, and noisy neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from environments.contract import Response, Vacuous
from suites.isolation.composing import ORDERS, Slot, judge_slots
from suites.isolation.neighbours import Phase, Sample, judge_neighbours, p95, ratio_of
from suites.isolation.retrieving import Sight, judge_sights, judge_unmoved, mistyped
from suites.isolation.streams import Delivered, events, judge_streams
from suites.isolation.test_caches import judge_keeping

OWN = {"id": "1"}


def slots(**answers: object) -> list[Slot]:
    given = {"own": OWN, "foreign": None, "absent": None} | answers
    return [
        Slot("aliases", order, n, who, given[who]) for order, asked in ORDERS.items() for n, who in enumerate(asked)
    ]


def test_own_objects_alone_are_served() -> None:
    assert judge_slots(slots()) == []
    assert "foreign id): served" in judge_slots(slots(foreign=OWN))[0]
    assert judge_slots(slots(absent=OWN)) and judge_slots(slots(own=None))
    assert "refused with INTERNAL" in judge_slots([dataclasses.replace(slots()[0], code="INTERNAL")])[0]
    with pytest.raises(Vacuous):
        judge_slots([slot for slot in slots() if slot.asked != "own"])


STREAM = (
    b': open\n\nid: 1\nevent: entity.create\ndata: {"seq": 1, "id": "a", "tenantId": "acme"}\n\n'
    b'event: end\ndata: {"code": "UNAUTHENTICATED"}\n\nid: 2\ndata: {"seq": 2'
)


def test_events_are_read_whole_and_without_the_end() -> None:
    assert [event["id"] for event in events(STREAM)] == ["a"]
    with pytest.raises(AssertionError, match="not JSON"):
        events(b"data: <html>\n\n")
    with pytest.raises(AssertionError, match="no object"):
        events(b"data: 5\n\n")


def test_streams_bring_the_own_events_and_nothing_barred() -> None:
    good = Delivered("ann", "acme", events(STREAM), frozenset({"a"}), {"b": "of another tenant"})
    assert judge_streams([good]) == []
    assert "did not come" in judge_streams([dataclasses.replace(good, expected=frozenset({"a", "c"}))])[0]
    assert "of another tenant" in judge_streams([dataclasses.replace(good, barred={"a": "of another tenant"})])[0]
    assert "an event of tenant acme" in judge_streams([dataclasses.replace(good, tenant="globex")])[0]
    with pytest.raises(Vacuous):
        judge_streams([dataclasses.replace(good, events=[])])


def test_a_term_is_found_by_its_owner_alone() -> None:
    good = Sight("search", "term-1", "acme", "globex", ["term-1"], [])
    assert judge_sights([good]) == []
    assert "globex finds term-1 of acme" in judge_sights([dataclasses.replace(good, to_other=["term-1"])])[0]
    for blind in ([], [dataclasses.replace(good, to_owner=[])]):
        with pytest.raises(Vacuous):
            judge_sights(blind)


def test_counts_that_move_with_another_tenant_are_found() -> None:
    assert judge_unmoved({"facets": [3]}, {"facets": [3]}) == []
    assert judge_unmoved({"facets": [3], "search": [1]}, {"facets": [43], "search": [1]})
    with pytest.raises(Vacuous):
        judge_unmoved({"facets": []}, {"facets": []})


def test_a_mistyped_term_is_another_one_of_the_same_length() -> None:
    for term in ("found-acme-12", "aa", "found-acme-11"):
        assert mistyped(term) != term and len(mistyped(term)) == len(term)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("public, max-age=60", True),
        ("s-maxage=5", True),
        ("no-store", False),
        ("private, must-revalidate", False),
        ("", False),
    ],
)
def test_answers_that_proxies_may_keep_are_found(value: str, problem: bool) -> None:
    assert bool(judge_keeping({"GET /": Response(200, {"Cache-Control": value}, b"", 0.0)})) is problem


# neighbours


def phases(loud_s: float, *, status: int = 200, count: int = 100) -> list[Phase]:
    def samples(elapsed_s: float) -> list[Sample]:
        return [Sample(float(n), elapsed_s * (1 + n % 10 / 100), status) for n in range(count)]

    return [Phase(False, samples(0.010)), Phase(True, samples(loud_s))] * 2


def judged(found: list[Phase], statuses: Mapping[int, int], asked: float = 400.0) -> list[str]:
    return judge_neighbours(ratio_of(found, 1), found, statuses, asked, 40.0)


def test_a_throttled_neighbour_that_hardly_slows_is_no_problem() -> None:
    assert judged(phases(0.012), {200: 16, 429: 144}) == []


def test_a_slowed_tenant_an_unthrottled_neighbour_and_a_refused_tenant_are_found() -> None:
    assert "3.00 times" in judged(phases(0.030), {200: 16, 429: 144})[0]
    assert "never answered 429" in judged(phases(0.010), {200: 160})[0]
    assert "other than 200" in judged(phases(0.010, status=429), {200: 16, 429: 144})[0]


def test_what_slows_some_turns_and_not_others_is_not_the_neighbour() -> None:
    seen_on_a_busy_machine_s = (0.0151, 0.0467, 0.0043, 0.0165, 0.0111)
    for loud_s in ((0.011, 0.011, 0.090), seen_on_a_busy_machine_s):
        found = ratio_of([phase for each in loud_s for phase in phases(each)[:2]], 1)
        assert found.low > 1.5
        assert not found.slowed
    assert ratio_of([*phases(0.090), *phases(0.016)], 1).slowed


def test_a_neighbour_that_was_not_loud_or_never_served_shows_nothing() -> None:
    for statuses, asked in (({200: 5, 429: 1}, 50.0), ({429: 160}, 400.0)):
        with pytest.raises(Vacuous):
            judged(phases(0.010), statuses, asked)
    with pytest.raises(Vacuous):
        ratio_of(phases(0.010, count=10), 1)


def test_p95_of_a_hundred_is_the_ninety_sixth() -> None:
    assert p95([float(n) for n in range(100)]) == 95.0 and p95([1.0]) == 1.0

"""Shrinking: 1-minimal whatever the oracle is, never invalid, and short in time and severity too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.schedules import Event, Schedule, Targets, generate
from environments.schedules.rules import check, pairs, possible
from environments.schedules.shrinker import Enough, ddmin, shrink
from tests.schedules.fakes import LINK, cut, heal, schedule

SIZES = st.integers(1, 24)


def one_minimal(units: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> bool:
    rests = ([unit for unit in units if unit != left_out] for left_out in units)
    return fails(units) and not any(rest and fails(rest) for rest in rests)


@settings(deadline=None)  # no example may fail for a busy machine
@given(SIZES, st.data())
def test_ddmin_finds_all_that_a_monotone_failure_needs(size: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    result = ddmin(range(size), lambda units: needed <= set(units))
    assert result == sorted(needed)


@settings(deadline=None)  # no example may fail for a busy machine
@given(SIZES, st.randoms(use_true_random=False))
def test_ddmin_is_one_minimal_for_any_oracle(size: int, draw: object) -> None:
    memory: dict[tuple[int, ...], bool] = {tuple(range(size)): True}

    def fails(units: Sequence[int]) -> bool:
        return memory.setdefault(tuple(units), draw.random() < 0.4)  # type: ignore[attr-defined]

    result = ddmin(range(size), fails)
    assert result == sorted(set(result) & set(range(size)))
    assert one_minimal(result, fails)


def test_ddmin_never_asks_about_nothing() -> None:
    def fails(units: Sequence[int]) -> bool:
        assert units
        return True

    assert len(ddmin(range(9), fails)) == 1


def test_a_cut_goes_with_its_heal() -> None:
    kill, start = Event(2, "process", "edge-1/edge", "kill"), Event(5, "process", "edge-1/edge", "start")
    state = Event(0.5, "link", LINK, "state", {"loss": 0.1})
    assert pairs([state, cut(1), heal(3), kill, start]) == [(state,), (cut(1), heal(3)), (kill, start)]
    one, two = cut(1, "edge-1>saas"), cut(2, "saas>edge-1")
    assert pairs([one, two, heal(3)]) == [(one, heal(3)), (two,)]


def test_what_lost_its_reason_is_left_out() -> None:
    assert possible([heal(3), cut(4), cut(5), heal(6)]) == (cut(4), heal(6))


STORM_TARGETS = Targets(links=(LINK, "edge-2--saas"), processes=("edge-1/edge",), clocks=("edge-1",), disks=("edge-1",))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_every_candidate_is_sound(seed: int) -> None:
    grown = generate("storm", seed=seed, duration_s=60, targets=STORM_TARGETS, parameters={"every_s": "1..4"})
    wanted = grown.events[seed % len(grown.events)]

    def fails(candidate: Schedule) -> bool:
        check(candidate, STORM_TARGETS)
        return any((each.target, each.action) == (wanted.target, wanted.action) for each in candidate.events)

    shrunk = shrink(grown, fails)
    assert shrunk.complete and fails(shrunk.schedule)
    assert len(shrunk.schedule.events) <= 2  # the event, and what mends or breaks it
    assert shrunk.schedule.duration_s < 1


def test_times_and_severities_shrink_to_what_still_fails() -> None:
    slow = Event(9, "link", "edge-2--saas", "state", {"delay_s": 3.0, "loss": 0.2})
    long = schedule(cut(10), heal(30), slow, heal(40, "edge-2--saas"), cut(50), heal(60))

    def fails(candidate: Schedule) -> bool:
        """An outage of 4 s or more while the other link has a delay of 0.5 s or more."""
        delay_s = longest_s = began_s = 0.0
        for event in candidate.events:
            if event.action == "state":
                delay_s = event.value.get("delay_s", 0.0)
            elif event.action == "cut":
                began_s = event.at_s
            elif event.target == LINK and delay_s >= 0.5:
                longest_s = max(longest_s, event.at_s - began_s)
        return longest_s >= 4

    shrunk = shrink(long, fails).schedule
    state, first, last = (event for event in shrunk.events if event.target != "edge-2--saas" or event.action == "state")
    assert state.value == {"delay_s": 0.75}
    assert last.at_s - first.at_s == pytest.approx(5.0, abs=1.1)
    assert shrunk.duration_s < 6


def test_ctrl_c_keeps_the_best_so_far() -> None:
    units = [event for at in range(0, 40, 4) for event in (cut(at), heal(at + 2))]
    asked = 0

    def fails(candidate: Schedule) -> bool:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Enough
        return True

    shrunk = shrink(schedule(*units), fails)
    assert not shrunk.complete
    assert 0 < len(shrunk.schedule.events) < len(units)

"""Judges of what tells one tenant of another without showing it: time, names, references, numbers."""

from __future__ import annotations

import dataclasses
import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.contract import Untestable, Vacuous
from suites.isolation.counting import Step, as_number, judge_volume
from suites.isolation.test_names import Taken, judge_names
from suites.isolation.test_references import Referred, judge_references
from suites.isolation.timing import Timing, cliffs_delta, compare, judge_timing

# time


def series(shift_s: float, noise_s: float = 0.0001, count: int = 300) -> tuple[list[float], list[float]]:
    draw = random.Random(5)
    base = [0.002 + abs(draw.gauss(0, noise_s)) for _ in range(count)]
    return [value + shift_s + abs(draw.gauss(0, noise_s)) for value in base], base


def test_a_slow_path_for_what_exists_is_told_from_noise() -> None:
    found = compare("entity", *series(0.001), seed=1)
    assert found.p < 0.002 and found.delta > 0.9 and 0.0009 < found.effect_s < 0.0012
    assert "1.0" in judge_timing([found])[0] or "+1" in judge_timing([found])[0]


def test_a_faster_path_is_as_telling_as_a_slower_one() -> None:
    slow, fast = series(0.002)
    assert judge_timing([compare("entity", fast, slow, seed=1)])


def test_equal_times_and_a_difference_below_the_bound_are_no_problem() -> None:
    assert judge_timing([compare("entity", *series(0.0), seed=1), compare("run", *series(0.0002), seed=1)]) == []


def test_noise_above_the_bound_is_no_verdict() -> None:
    draw = random.Random(7)
    one, other = ([draw.uniform(0.001, 0.1) for _ in range(300)] for _ in range(2))
    with pytest.raises(Untestable, match="noisy"):
        judge_timing([compare("entity", one, other, seed=1)])


def test_too_few_pairs_and_none_are_vacuous() -> None:
    with pytest.raises(Vacuous):
        judge_timing([compare("entity", *series(0.0, count=50), seed=1)])
    with pytest.raises(Vacuous):
        judge_timing([])


def test_an_effect_that_chance_explains_is_no_problem() -> None:
    assert judge_timing([Timing("entity", 300, 0.01, 0.009, 0.001, 0.2, 0.1, 0.0004)]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_cliffs_delta_is_antisymmetric_and_bounded(one: list[float], other: list[float]) -> None:
    assert -1 <= cliffs_delta(one, other) <= 1
    assert cliffs_delta(one, other) == pytest.approx(-cliffs_delta(other, one))
    assert cliffs_delta(one, one) == pytest.approx(0)


# names

FRESH = (200, None, '{"version":1}')
TAKEN = (200, "CONFLICT", "")
NAMES = Taken("entity id", FRESH, FRESH, FRESH, TAKEN, 200)


@pytest.mark.parametrize(
    "mutant",
    [
        {"others": TAKEN},
        {"others": (200, None, '{"version":2}')},
        {"removed": (200, None, '{"version":3}')},
        {"nobodys": TAKEN},
        {"own": FRESH},
    ],
)
def test_names_that_tell_are_found(mutant: dict[str, object]) -> None:
    assert judge_names(NAMES) == []
    assert judge_names(dataclasses.replace(NAMES, **mutant))  # type: ignore[arg-type]


# references

REFUSED = (200, "NOT_FOUND", "<id>")
REFERENCES = Referred("source", (200, None, ""), REFUSED, REFUSED, linked=False)


@pytest.mark.parametrize(
    "mutant",
    [
        {"foreign": (200, "FORBIDDEN", "<id>")},
        {"foreign": (200, None, "")},
        {"foreign": (200, None, ""), "absent": (200, None, "")},
        {"foreign": (200, "NOT_FOUND", "of globex")},
        {"linked": True},
        {"own": REFUSED},
    ],
)
def test_references_that_tell_or_hold_are_found(mutant: dict[str, object]) -> None:
    assert judge_references(REFERENCES) == []
    assert judge_references(dataclasses.replace(REFERENCES, **mutant))  # type: ignore[arg-type]


# numbers


def step(foreign: int, *, near: bool = False, moves: int = 2) -> Step:
    first = uuid.uuid4()
    second = uuid.UUID(int=first.int + foreign + 1) if near else uuid.uuid4()
    return Step(foreign, {"entity": str(first)}, {"entity": str(second)}, {"event": 7}, {"event": 7 + moves})


def test_random_ids_and_own_numbers_tell_nothing() -> None:
    assert judge_volume([step(0), step(30), step(0), step(30)]) == []


def test_ids_in_sequence_and_numbers_that_follow_another_are_found() -> None:
    assert "ids can be counted" in judge_volume([step(0), step(30, near=True)])[0]
    assert "event: moves by [32]" in judge_volume([step(0), step(30, moves=32)])[0]


def test_steps_of_one_kind_show_nothing() -> None:
    for steps in ([], [step(0), step(0)], [step(30)]):
        with pytest.raises(Vacuous):
            judge_volume(steps)


def test_ids_of_other_forms_are_numbers_by_their_last_digits() -> None:
    assert as_number("INV-2026-0042") == 42 and as_number("case") is None
    assert as_number("00000000-0000-4000-8000-000000000001") == uuid.UUID("00000000-0000-4000-8000-000000000001").int


def test_a_busy_machine_is_seen_through_by_its_quiet_moments() -> None:
    draw = random.Random(3)
    rush = [0.05 * draw.random() if draw.random() < 0.6 else 0.0 for _ in range(1500)]
    absent = [0.002 + a + abs(draw.gauss(0, 0.0001)) for a in rush]
    foreign = [0.002 + (0.05 * draw.random() if a else 0.0) + abs(draw.gauss(0, 0.0001)) for a in rush]
    assert judge_timing([compare("entity", foreign, absent, seed=1)]) == []
    slower = [value + 0.001 for value in foreign]
    assert judge_timing([compare("entity", slower, absent, seed=1)])

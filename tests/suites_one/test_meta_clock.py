"""META-06: what its judges say of times and tokens that do not go by the clock that was set."""

from dataclasses import replace

import pytest

from environments.contract import Vacuous
from suites.meta.clock import SETTINGS, WITNESSES, Lapse, Moment, judge_lapses, judge_moments

MOMENTS = [Moment("one", setting, witness, 100.0, 99.0, 101.0) for setting in SETTINGS for witness in WITNESSES]
LAPSES = [Lapse("one", -1.0, 200, None), Lapse("one", 1.0, 401, "UNAUTHENTICATED")]


def test_times_of_the_clock_that_was_set_are_good() -> None:
    assert judge_moments(MOMENTS) == []
    assert judge_lapses(LAPSES) == []


@pytest.mark.parametrize("at", range(len(MOMENTS)))
@pytest.mark.parametrize("seen_s", [98.9, 101.1])
def test_each_time_that_lies_elsewhere_is_named(at: int, seen_s: float) -> None:
    moments = [*MOMENTS[:at], replace(MOMENTS[at], seen_s=seen_s), *MOMENTS[at + 1 :]]
    (problem,) = judge_moments(moments)
    assert f"one, {MOMENTS[at].setting}: {MOMENTS[at].witness} of {seen_s:.3f}" in problem


@pytest.mark.parametrize("left", range(len(MOMENTS)))
def test_a_setting_that_was_not_seen_by_a_witness_is_vacuous(left: int) -> None:
    with pytest.raises(Vacuous):
        judge_moments(MOMENTS[:left] + MOMENTS[left + 1 :])
    with pytest.raises(Vacuous):
        judge_moments([*MOMENTS, replace(MOMENTS[0], node="two")])


def test_a_token_that_outlives_its_time_or_never_lives_is_named() -> None:
    for lapse in (
        Lapse("one", 1.0, 200, None),
        Lapse("one", 1.0, 500, "INTERNAL"),
        Lapse("one", -1.0, 401, "UNAUTHENTICATED"),
    ):
        others = [each for each in LAPSES if each.after_s != lapse.after_s]
        (problem,) = judge_lapses([lapse, *others])
        assert "from its end" in problem
    for lapse in LAPSES:
        with pytest.raises(Vacuous):
            judge_lapses([lapse])

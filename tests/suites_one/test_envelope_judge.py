"""OPS-04: the trend and its interval, and the judge on soaks that are clean, leak, or end too early."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.contract import Limits, Vacuous
from suites.operations.envelope import Sample, flattest, judge_limits, judge_soak, smallest_leak, trend

MIB = 1 << 20
LIMIT = 150 * MIB


def soak(
    count: int = 60,
    per_sample: int = 8,
    *,
    leak: float = 0.0,
    stray: float = 0.0,
    rows: float = 1600.0,
    steps: dict[int, int] | None = None,
    oom: int = 0,
    seed: int = 1,
) -> list[Sample]:
    """Samples as they come: memory in steps of an allocator, with noise; steps: sample -> extra bytes from there on."""
    rng, samples, extra = random.Random(seed), [], 0
    for n in range(count):
        operations = 100 + n * per_sample
        extra += (steps or {}).get(n, 0)
        grown = int(leak * operations) // (256 << 10) * (256 << 10)
        memory = 52 * MIB + extra + grown + rng.choice((0, 0, 4096, -4096))
        samples.append(
            Sample(
                n * 0.25,
                operations,
                memory,
                memory + 8 * MIB,
                int(13 * MIB + rows * operations) // 4096 * 4096,
                int(1900 + stray * operations),
                oom,
            )
        )
    return samples


def test_a_soak_that_stays_flat_passes_whatever_its_backlog() -> None:
    assert judge_soak(soak(), LIMIT, 200) == []
    assert judge_soak(soak(rows=4500), LIMIT, 200) == []


@pytest.mark.parametrize("seed", range(20))
def test_steps_of_an_allocator_are_no_leak(seed: int) -> None:
    rng = random.Random(seed)
    steps = {rng.randrange(60): rng.randrange(1, 8) * MIB for _ in range(2)}
    assert judge_soak(soak(steps=steps, seed=seed), LIMIT, 200) == []


@pytest.mark.parametrize("leak", [4096.0, 8192.0, 65536.0])
@pytest.mark.parametrize("seed", range(10))
def test_a_leak_is_seen_under_steps_and_noise(leak: float, seed: int) -> None:
    problems = judge_soak(soak(leak=leak, steps={20: 3 * MIB}, seed=seed), LIMIT, 200)
    assert any("memory grows" in problem for problem in problems), problems


def test_a_small_leak_is_seen_in_a_long_soak_and_its_limit_is_known() -> None:
    assert smallest_leak(480) > 2000 > smallest_leak(100_000)
    assert judge_soak(soak(count=200, per_sample=500, leak=100.0), LIMIT, 200)
    assert judge_soak(soak(count=200, per_sample=500, leak=20.0), LIMIT, 200) == []


def test_what_else_grows_is_told_by_name() -> None:
    assert "files that hold no backlog" in judge_soak(soak(stray=40.0), LIMIT, 200)[0]
    assert "the database grows" in judge_soak(soak(rows=9000.0), LIMIT, 200)[0]
    assert "declared are" in judge_soak(soak(), 50 * MIB, 200)[0]
    assert "for want of memory" in judge_soak(soak(oom=1), LIMIT, 200)[0]


@pytest.mark.parametrize("samples", [[], soak(count=10), soak(count=40, per_sample=1)], ids=["none", "few", "idle"])
def test_below_the_floors_it_is_inconclusive(samples: list[Sample]) -> None:
    with pytest.raises(Vacuous, match="inconclusive"):
        judge_soak(samples, LIMIT, 200)


def test_limits_are_those_declared_or_less() -> None:
    declared = Limits(LIMIT, 1.0)
    assert judge_limits(declared, [Limits(LIMIT, 1.0), Limits(MIB, 0.5)]) == []
    assert len(judge_limits(declared, [Limits(None, None)])) == 2
    assert "memory" in judge_limits(declared, [Limits(2 * LIMIT, 1.0)])[0]
    assert judge_limits(Limits(LIMIT, None), [Limits(LIMIT, None)]) == []
    for nothing in ((declared, []), (Limits(None, None), [declared])):
        with pytest.raises(Vacuous):
            judge_limits(*nothing)


@given(
    st.floats(-1e4, 1e4),
    st.floats(-1e6, 1e6),
    st.lists(st.integers(0, 10_000), min_size=3, max_size=30, unique=True),
)
def test_the_trend_of_a_line_is_its_slope(slope: float, start: float, xs: list[int]) -> None:
    points = sorted(xs)
    found = trend([float(x) for x in points], [start + slope * x for x in points])
    assert found.low <= found.slope <= found.high
    assert found.slope == pytest.approx(slope, abs=1e-3)
    assert flattest([float(x) for x in points], [start + slope * x for x in points]) == pytest.approx(slope, abs=1e-3)


def test_the_interval_holds_the_true_slope_as_often_as_it_says() -> None:
    rng, held, tries = random.Random(7), 0, 300
    for _ in range(tries):
        found = trend(range(40), [3.0 * x + rng.gauss(0, 20) for x in range(40)])
        held += found.low <= 3.0 <= found.high
    assert held / tries > 0.97


def test_no_trend_without_two_places() -> None:
    with pytest.raises(ValueError, match="different x"):
        trend([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="different x"):
        flattest([1.0, 1.0], [1.0, 2.0])

"""ISO-03: whether two series of times differ, told from noise by a permutation test.

Times come in pairs, measured one after the other in changing order, so that whatever else the machine does falls on
both. Under the null hypothesis the sign of each pair's difference is a coin: the test draws signs at random and counts
how often the median is as far from zero as the one that was seen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from environments.contract import untestable, vacuous

PAIRS = 300  # the least that the requirement asks
ROUNDS = 1000
P_BOUND = 0.002
EFFECT_BOUND_S = 0.0005  # what an attacker in the same network can tell with thousands of samples


@dataclass(frozen=True)
class Timing:
    """Paired times of one operation, and what was found. effect_s: median of (foreign - absent); resolution_s: the
    median of as many differences that noise alone gives in 99 of 100 cases; delta: Cliff's, -1 to 1."""

    operation: str
    pairs: int
    foreign_median_s: float
    absent_median_s: float
    effect_s: float
    p: float
    delta: float
    resolution_s: float

    @property
    def told_apart(self) -> bool:
        """Beyond the bound, and not by chance."""
        return abs(self.effect_s) >= EFFECT_BOUND_S and self.p <= P_BOUND


def cliffs_delta(one: Sequence[float], other: Sequence[float]) -> float:
    """How much more often a value of `one` is the greater: -1 to 1; 0 if neither."""
    from bisect import bisect_left, bisect_right

    ordered = sorted(other)
    more = sum(bisect_left(ordered, value) for value in one)
    less = sum(len(ordered) - bisect_right(ordered, value) for value in one)
    return (more - less) / (len(one) * len(other))


def quietest(foreign_s: Sequence[float], absent_s: Sequence[float]) -> tuple[list[float], list[float]]:
    """The third of the pairs that took least together, PAIRS at least: those that were measured while the machine did
    little else. The choice knows a pair's sum, not which of the two was the longer, so the test stays what it is."""
    pairs = sorted(zip(foreign_s, absent_s, strict=True), key=sum)[: max(PAIRS, len(foreign_s) // 3)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def compare(operation: str, foreign_s: Sequence[float], absent_s: Sequence[float], seed: int) -> Timing:
    """foreign_s[i] and absent_s[i] are a pair; at least one. Of many pairs the quietest count."""
    draw = random.Random(seed)
    foreign_s, absent_s = quietest(foreign_s, absent_s)
    differences = [one - other for one, other in zip(foreign_s, absent_s, strict=True)]
    effect = median(differences)
    shuffled = sorted(
        abs(median(d if bit == "1" else -d for d, bit in zip(differences, _bits(draw, len(differences)), strict=True)))
        for _ in range(ROUNDS)
    )
    as_far = sum(value >= abs(effect) for value in shuffled)
    return Timing(
        operation,
        len(differences),
        median(foreign_s),
        median(absent_s),
        effect,
        (as_far + 1) / (ROUNDS + 1),
        cliffs_delta(foreign_s, absent_s),
        shuffled[int(ROUNDS * 0.99)],
    )


def _bits(draw: random.Random, count: int) -> str:
    return f"{draw.getrandbits(count):0{count}b}"


def told(timing: Timing) -> str:
    return (
        f"{timing.operation}: foreign {timing.foreign_median_s * 1e3:.3f} ms, absent {timing.absent_median_s * 1e3:.3f}"
        f" ms, median of differences {timing.effect_s * 1e3:+.3f} ms (p = {timing.p:.4f}, Cliff's delta"
        f" {timing.delta:+.2f}, {timing.pairs} pairs, noise {timing.resolution_s * 1e3:.3f} ms)"
    )


def judge_timing(timings: Sequence[Timing], least: int = PAIRS) -> list[str]:
    """Operations whose times tell a foreign id from an absent one: beyond the bound, and not by chance. Vacuous if too
    few pairs were measured; untestable if the noise is greater than the bound: then silence means nothing."""
    if not timings:
        vacuous("nothing was timed")
    problems = [
        f"{told(timing)}: a foreign id can be told from an absent one by time"
        for timing in timings
        if timing.told_apart
    ]
    if problems:
        return problems
    for timing in timings:
        if timing.pairs < least:
            vacuous(f"{timing.operation}: {timing.pairs} of {least} pairs were measured")
        if timing.resolution_s > EFFECT_BOUND_S:
            untestable(
                f"timing-resolution: {timing.operation}: the machine is too noisy to see {EFFECT_BOUND_S * 1e3:g} ms"
                f" (noise {timing.resolution_s * 1e3:.3f} ms after {timing.pairs} pairs)"
            )
    return problems

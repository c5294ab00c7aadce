"""Make the traces beside: python profiles/traces/synthesise.py. Seconds of capacity drawn from published statistics."""

from __future__ import annotations

import random
import statistics
import sys
from itertools import pairwise
from pathlib import Path

SECONDS = 900
# Of the AT&T LTE driving traces: (quantiles of a second's Mbit/s in coverage, share without any, longest gap, s)
UP = ((0.0, 0.55), (0.35, 0.98), (0.5, 1.06), (0.95, 1.19), (1.0, 1.25)), 0.093, 78
DOWN = ((0.0, 0.5), (0.05, 0.7), (0.5, 4.6), (0.95, 11.5), (1.0, 16.0)), 0.02, 6


def seconds(quantiles: tuple[tuple[float, float], ...], empty: float, gap: int, seed: int) -> list[int]:
    """Capacity of each second in kbit/s: a slow walk through the quantiles, gaps laid over it, the longest first."""
    draw = random.Random(seed)
    ranks = [draw.random()]
    while len(ranks) < SECONDS:  # neighbours are alike: a vehicle leaves a cell slowly
        ranks.append(0.8 * ranks[-1] + 0.2 * draw.random())
    order = sorted(range(SECONDS), key=lambda place: ranks[place])
    even = {place: (rank + 0.5) / SECONDS for rank, place in enumerate(order)}  # the walk, spread over all quantiles
    made = [round(1000 * _at(quantiles, even[place])) for place in range(SECONDS)]
    left, starts = round(empty * SECONDS), list[int]()
    while left > 0:
        length = gap if not starts else min(left, draw.randint(1, max(1, gap // 12)))
        start = draw.randrange(60, SECONDS - length)
        if any(made[place] == 0 for place in range(start - 2, min(SECONDS, start + length + 2))):
            continue
        made[start : start + length] = [0] * length
        starts.append(start)
        left -= length
    return made


def _at(quantiles: tuple[tuple[float, float], ...], rank: float) -> float:
    for (low, least), (high, most) in pairwise(quantiles):
        if rank <= high:
            return least + (most - least) * (rank - low) / (high - low)
    return quantiles[-1][1]


def main() -> None:
    for name, (figures, seed) in {"lte-driving-up": (UP, 1), "lte-driving-down": (DOWN, 2)}.items():
        made = seconds(*figures, seed)
        Path(__file__).with_name(f"{name}.kbps").write_text("\n".join(map(str, made)) + "\n", encoding="ascii")
        steps = statistics.quantiles(made, n=20)
        sys.stdout.write(
            f"{name}: mean {statistics.mean(made) / 1e3:.2f}, p5 {steps[0] / 1e3:.2f}, p50 {steps[9] / 1e3:.2f},"
            f" p95 {steps[18] / 1e3:.2f} Mbit/s, {made.count(0) / SECONDS:.1%} of seconds without capacity\n"
        )


if __name__ == "__main__":
    main()

"""The smallest of generated examples that shows a difference, by Hypothesis: the one way in which checks find one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

Example = TypeVar("Example")


class Differs(Exception):
    """An example that shows it."""


def smallest(
    strategy: SearchStrategy[Example], shows: Callable[[Example], bool], seed_: int, examples: int
) -> Example | None:
    """At most `examples` of the strategy, then the shrinking of one for which `shows` holds; None if it holds for none.
    The same seed tries the same examples. `shows` bounds its own time."""
    last: list[Example] = []

    @seed(seed_)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(strategy)
    def every(example: Example) -> None:
        if shows(example):
            last[:] = [example]
            raise Differs

    try:
        every()
    except Differs:
        return last[0]
    return None

"""ISO-06: from a leak among thousands of concurrent operations to the shortest sequence that leaks by itself."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from environments.contract import HttpSession, Node
from suites.isolation.pool import KINDS, Operation, Side, Step, perform

LONGEST = 3  # steps
ROUNDS = 12  # times that a sequence is made: the pool hands out another connection each time
WASH = 40  # reads, by either side at random, that leave every connection of the pool as after a good request


@dataclass(frozen=True)
class Shortest:
    """steps, as (tenant, what it does), made one after the other by one client; leaks: in how many of `rounds`."""

    steps: Sequence[tuple[str, str]]
    leaks: int
    rounds: int
    leak: str

    def __str__(self) -> str:
        told = ", then ".join(f"{kind} by {tenant}" for tenant, kind in self.steps)
        return f"{told}: {self.leak} (in {self.leaks} of {self.rounds} rounds, one client at a time)"


def shortest(
    node: Node, sides: tuple[Side, Side], found: Operation, seed: int, *, limit_s: float = 40.0
) -> Shortest | None:
    """Sequences that end as the leak did, shortest first; None if none of LONGEST steps leaks, or time ran out. Before
    each the pool is washed, so that it is the sequence that leaks and not what was done before it."""
    session, url, draw = node.http(), node.url("data") + "/graphql", random.Random(seed)
    last: Step = (0 if found.tenant == sides[0].tenant else 1, found.kind)
    steps: list[Step] = [(index, kind) for kind in KINDS for index in (last[0], 1 - last[0])]
    ends = time.monotonic() + limit_s
    for length in range(1, LONGEST + 1):
        for before in itertools.product(steps, repeat=length - 1):
            if time.monotonic() > ends:
                return None
            for _ in range(WASH):
                perform(session, url, sides, (draw.randrange(2), "read"))
            leaks = [leak for _ in range(ROUNDS) if (leak := _round(session, url, sides, (*before, last)))]
            if leaks:
                named = [(sides[index].tenant, kind) for index, kind in (*before, last)]
                return Shortest(named, len(leaks), ROUNDS, leaks[0])
    return None


def _round(session: HttpSession, url: str, sides: tuple[Side, Side], steps: Sequence[Step]) -> str | None:
    """What the last step leaked."""
    return [perform(session, url, sides, step) for step in steps][-1].leak

"""Episodes of a link as time goes by: which last now, and when the next begins or ends. Pure; times of any clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from typing import Any

from environments.link import Episode


class Weather:
    """The episodes of one link from the moment its state was set; the same seed gives the same weather."""

    def __init__(self, episodes: Sequence[Episode], seed: str, began_s: float) -> None:
        self._episodes = episodes
        self._spans = [spans(each, f"{seed}/episode {number}") for number, each in enumerate(episodes)]
        self._began_s = began_s
        self._lasting: set[int] = set()
        self._due: list[tuple[float, int, bool]] = []  # (when, episode, begins)
        for number in range(len(episodes)):
            self._plan(number)

    def _plan(self, number: int) -> None:
        at_s, long_s = next(self._spans[number])
        heapq.heappush(self._due, (self._began_s + at_s, number, True))
        heapq.heappush(self._due, (self._began_s + at_s + long_s, number, False))

    @property
    def next_s(self) -> float:
        """When something begins or ends next."""
        return self._due[0][0]

    def advance(self, now_s: float) -> list[str]:
        """Take what is due by now; what happened, a line each."""
        said = []
        while self._due[0][0] <= now_s:
            _, number, begins = heapq.heappop(self._due)
            name = self._episodes[number].name
            if begins:
                self._lasting.add(number)
            else:
                self._lasting.discard(number)
                self._plan(number)
            said.append(f"{name} {'begins' if begins else 'ends'}")
        return said

    def lasting(self) -> list[str]:
        """Names of the episodes that last now."""
        return [self._episodes[number].name for number in sorted(self._lasting)]

    def changes(self) -> dict[str, Any]:
        """What differs now; where two episodes change one thing, the later in the list wins."""
        return {key: value for number in sorted(self._lasting) for key, value in self._episodes[number].change.items()}


def spans(episode: Episode, seed: str) -> Iterator[tuple[float, float]]:
    """(start, length) of each, without end; the first comes after a first `every_s`, or at its place in the windows."""
    draw = random.Random(seed).uniform
    at_s = 0.0
    while True:
        if episode.for_s is None:
            yield from ((at_s + start_s, long_s) for start_s, long_s in episode.windows_s)
            at_s += draw(*episode.every_s)
        else:
            at_s += draw(*episode.every_s)
            yield at_s, draw(*episode.for_s)

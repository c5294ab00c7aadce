"""How many processes of the kill matrix run at a time: as many as keep the processors busy, and few that only wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

SPAN_S = 1.0
BUSY_PERCENT = 90.0  # beyond it another would only make all the others slower


def busy_percent() -> float:
    """Of all processors, over the next second."""
    return psutil.cpu_percent(SPAN_S)


class Admission:
    """At once while fewer than `least` run; then one per second while a processor is idle, until `most` run."""

    def __init__(self, least: int, most: int, busy: Callable[[], float] = busy_percent) -> None:
        self._least, self.most, self._busy = least, most, busy
        self._running = 0
        self._turn, self._count = threading.Lock(), threading.Lock()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """What runs in this block counts. Have `most` threads that ask for it."""
        with self._turn:
            while self._running >= self._least and self._busy() > BUSY_PERCENT:
                pass
            self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def _add(self, number: int) -> None:
        with self._count:
            self._running += number

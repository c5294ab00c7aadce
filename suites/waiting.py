"""Waiting for a named condition with a deadline: the one way to do it in a check."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_S, LAST_S, GROWTH = 0.02, 0.5, 1.3  # pauses between looks: short at first; a long wait costs next to nothing


def wait_until(condition: Callable[[], bool], limit_s: float) -> float:
    """Seconds until the condition held; more than limit_s if it never did. The caller judges which."""
    started, pause_s = time.monotonic(), FIRST_S
    while not condition():
        waited_s = time.monotonic() - started
        if waited_s > limit_s:
            return waited_s
        time.sleep(min(pause_s, limit_s - waited_s + 0.001))
        pause_s = min(pause_s * GROWTH, LAST_S)
    return time.monotonic() - started

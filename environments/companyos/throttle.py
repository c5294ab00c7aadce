"""How much one tenant may ask of a shared node: token buckets, so that one tenant's load is not another's wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from environments.companyos.errors import ApiError

BURST = 2  # a bucket holds so many seconds of the rate


class Throttle:
    """A unit is one root field of a GraphQL request, or one REST request. rate_per_s None: nothing is limited."""

    def __init__(self, rate_per_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.rate_per_s, self.now = rate_per_s, now
        self._buckets: dict[str, tuple[float, float]] = {}  # tenant -> (units left, when that was so)
        self._lock = threading.Lock()

    def take(self, tenant: str, units: int = 1) -> None:
        """ApiError RATE_LIMITED, and nothing taken, if the tenant's bucket has fewer units."""
        if self.rate_per_s is None or units <= 0:
            return
        full = self.rate_per_s * BURST
        with self._lock:
            now = self.now()
            left, then = self._buckets.get(tenant, (full, now))
            left = min(full, left + (now - then) * self.rate_per_s)
            enough = left >= units
            self._buckets[tenant] = (left - units if enough else left, now)
        if not enough:
            raise ApiError("RATE_LIMITED", message="the tenant asks more than its share, try again in a second")

"""How much one tenant may ask of a shared node: token buckets, so that one tenant's load is not another's wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from environments.companyos.errors import ApiError

BURST_S = 2  # a bucket holds so many seconds of the rate
LOOK_S = 1.0  # between looks at a tenant's rate


class Throttle:
    """A unit is one root field of a GraphQL request, or one REST request.

    rate_of: units per second of a tenant; None: it is not limited."""

    def __init__(self, rate_of: Callable[[str], float | None], now: Callable[[], float] = time.monotonic) -> None:
        self.rate_of, self.now = rate_of, now
        self._rates: dict[str, tuple[float, float | None]] = {}  # tenant -> (good until, rate)
        self._buckets: dict[str, tuple[float, float]] = {}  # tenant -> (units left, when that was so)
        self._lock = threading.Lock()

    def take(self, tenant: str, units: int = 1) -> None:
        """ApiError RATE_LIMITED, and nothing taken, if the tenant's bucket has fewer units."""
        rate_per_s = self._rate(tenant)
        if rate_per_s is None or units <= 0:
            return
        full = rate_per_s * BURST_S
        with self._lock:
            now = self.now()
            left, then = self._buckets.get(tenant, (full, now))
            left = min(full, left + (now - then) * rate_per_s)
            enough = left >= units
            self._buckets[tenant] = (left - units if enough else left, now)
        if not enough:
            raise ApiError("RATE_LIMITED", message="the tenant asks more than its share, try again in a second")

    def _rate(self, tenant: str) -> float | None:
        until, rate = self._rates.get(tenant, (0.0, None))
        if self.now() < until:
            return rate
        found = self.rate_of(tenant)
        self._rates[tenant] = (self.now() + LOOK_S, found)
        return found

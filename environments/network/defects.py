"""Known-bad routers, to prove that calibration and canaries can fail. Each replaces one seam of the clean code."""

from __future__ import annotations

from collections.abc import Callable

from environments.network.dns import Question
from environments.network.links import Direction, LossChain
from environments.network.packets import Packet
from environments.network.sentinel import Sentinel


def router_adds_no_delay() -> None:
    """Links deliver at once, whatever delay was asked."""
    Direction.travel_s = lambda self: 0.0  # type: ignore[method-assign]


def router_never_drops() -> None:
    """Loss is configured and never happens."""
    LossChain.lost = lambda self: False  # type: ignore[method-assign]


def sentinel_is_deaf() -> None:
    """Nothing reaches the egress ledger."""
    Sentinel.observe = lambda self, site, packet, asked: None  # type: ignore[method-assign]


def sentinel_ignores_ipv6() -> None:
    """The ledger has IPv4 only, as many a checker's."""
    observe = Sentinel.observe

    def deaf_to_v6(self: Sentinel, site: str, packet: Packet, asked: Question | None) -> None:
        if packet.version == 4:
            observe(self, site, packet, asked)

    Sentinel.observe = deaf_to_v6  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (router_adds_no_delay, router_never_drops, sentinel_is_deaf, sentinel_ignores_ipv6)
}

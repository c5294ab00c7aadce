"""What one direction of a link does to packets. Data and its rules; the router carries it out.

Kept to the standard library, so that the router, which must start within a blink, can import it; profiles validate it
with pydantic all the same (a dataclass is as good to it as a model).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

PACKET_BYTES = 1500  # the packet that a queue must at least have room for
LEAST_MTU_BYTES = 68  # RFC 791
SHAPES = ("uniform", "normal", "table")
_LIMITS: dict[str, tuple[float, float]] = {
    "delay_s": (0.0, 600.0),
    "jitter_s": (0.0, 600.0),
    "loss": (0.0, 1.0),
    "burst": (1.0, 1e6),
    "rate_bps": (1.0, 1e12),
    "queue_s": (0.0, 3600.0),
    "queue_bytes": (PACKET_BYTES, 1e12),
    "duplicate": (0.0, 1.0),
    "reorder": (0.0, 1.0),
    "corrupt": (0.0, 1.0),
    "mtu_bytes": (LEAST_MTU_BYTES, 65535),
}
_OPTIONAL = {"burst", "rate_bps", "queue_bytes", "mtu_bytes"}
_SWITCHES = {"up", "reject", "half_open", "mtu_blackhole"}
_WHOLE = {"queue_bytes", "mtu_bytes"}


class StateError(ValueError):
    """A state that cannot be; `field` is the key at fault, the message names it and what was expected."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Episode:
    """Weather that comes and goes by time, not by packet: a blockage, a handover, a rain fade.

    every_s: from one beginning to the next; for_s: how long; each a fixed number or drawn evenly from (least, most),
    by the seed of the router and alike for both directions of a link. windows_s instead: fixed (start, length) pairs
    within each `every_s`. change: what differs meanwhile, e.g. {"up": False} or {"rate_bps": 2e5}.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, no field

    every_s: tuple[float, float]
    change: Mapping[str, Any]
    for_s: tuple[float, float] | None = None
    windows_s: tuple[tuple[float, float], ...] = ()
    name: str = "episode"

    def __post_init__(self) -> None:
        object.__setattr__(self, "every_s", _pair("every_s", self.every_s))
        if (self.for_s is None) == (not self.windows_s):
            raise StateError("episodes", f"{self.name}: give exactly one of for_s and windows_s")
        if self.for_s is not None:
            object.__setattr__(self, "for_s", _pair("for_s", self.for_s))
            if self.for_s[1] >= self.every_s[0]:
                raise StateError("episodes", f"{self.name}: for_s, up to {self.for_s[1]:g} s, must end within every_s")
        object.__setattr__(self, "windows_s", tuple((float(at), float(long)) for at, long in self.windows_s))
        ends_s = 0.0
        for at_s, long_s in self.windows_s:
            if at_s < ends_s or long_s <= 0:
                raise StateError("episodes", f"{self.name}: windows_s must be in order, apart, and longer than nothing")
            ends_s = at_s + long_s
        if ends_s > self.every_s[0]:
            raise StateError("episodes", f"{self.name}: windows_s go on after every_s, {self.every_s[0]:g} s")
        unknown = set(self.change) - _CHANGEABLE
        if unknown or not self.change:
            raise StateError("episodes", f"{self.name}: change must be of {', '.join(sorted(_CHANGEABLE))}")


def _pair(name: str, value: Any) -> tuple[float, float]:
    """(least, most) of a number or two."""
    pair = (value, value) if isinstance(value, int | float) else tuple(value)
    if len(pair) != 2 or not all(isinstance(each, int | float) and math.isfinite(each) for each in pair):
        raise StateError("episodes", f"{name} must be seconds, or [least, most], not {value!r}")
    if not 0 < pair[0] <= pair[1]:
        raise StateError("episodes", f"{name} must be [least, most], more than 0, not {value!r}")
    return float(pair[0]), float(pair[1])


@dataclass(frozen=True)
class LinkState:
    """State of one direction of a link. Delay is one-way; loss, duplicate, reorder, corrupt are shares of packets."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, no field

    up: bool = True
    reject: bool = False  # while down: refused at once (RST, ICMP unreachable), not silence
    half_open: bool = False  # connections that were open when this began get no answer more; new ones pass
    delay_s: float = 0.0
    jitter_s: float = 0.0  # uniform: at most this much more or less; normal: its standard deviation
    jitter_shape: str = "uniform"  # uniform, normal, table
    jitter_table_s: tuple[float, ...] = ()  # evenly spaced quantiles of what is added to the delay, for `table`
    loss: float = 0.0  # in the long run
    burst: float | None = None  # mean length of a run of losses, packets (Gilbert-Elliott); None: independent losses
    rate_bps: float | None = None  # of IP bytes; None: unlimited
    queue_s: float = 1.0  # longest time a packet may wait for the rate; beyond it, tail drop
    queue_bytes: int | None = None  # and the most bytes that may wait
    trace: str | None = None  # instead of a rate, delivery opportunities: a name in profiles/traces, or a path
    duplicate: float = 0.0
    reorder: float = 0.0  # packets that are not delayed and so overtake those before them
    corrupt: float = 0.0  # packets with one bit of what the IP header carries turned over
    mtu_bytes: int | None = None  # larger packets are fragmented or answered with ICMP (packet too big)
    mtu_blackhole: bool = False  # larger packets vanish without an answer
    episodes: tuple[Episode, ...] = ()

    def __post_init__(self) -> None:
        episodes = tuple(each if isinstance(each, Episode) else _episode(each) for each in self.episodes)
        object.__setattr__(self, "episodes", episodes)
        object.__setattr__(self, "jitter_table_s", tuple(self.jitter_table_s))
        for each in fields(self):
            _check(each.name, getattr(self, each.name))
        _check_together(self)

    def document(self) -> dict[str, Any]:
        """As JSON has it; `LinkState(**document)` is the same state. Only what differs from the default, and `up`."""
        whole = asdict(self)
        return {name: value for name, value in whole.items() if name == "up" or value != _DEFAULTS[name]}


_CHANGEABLE = {each.name for each in fields(LinkState)} - {"episodes", "trace", "jitter_table_s", "jitter_shape"}


def _episode(document: Any) -> Episode:
    if not isinstance(document, Mapping):
        raise StateError("episodes", f"an episode is a mapping, not {document!r}")
    try:
        return Episode(**document)
    except TypeError as error:
        raise StateError("episodes", f"an episode has every_s, for_s or windows_s, change, name: {error}") from None


def _check(name: str, value: Any) -> None:
    """Raise StateError if a field by itself is out of range."""
    if name in _SWITCHES:
        if not isinstance(value, bool):
            raise StateError(name, f"{name} must be true or false, not {value!r}")
    elif name == "jitter_shape":
        if value not in SHAPES:
            raise StateError(name, f"{name} must be one of {', '.join(SHAPES)}, not {value!r}")
    elif name == "trace":
        if value is not None and (not isinstance(value, str) or not value):
            raise StateError(name, f"{name} must be the name or path of a trace, not {value!r}")
    elif name in _LIMITS and not (value is None and name in _OPTIONAL):
        low, high = _LIMITS[name]
        kinds = (int,) if name in _WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if name in _WHOLE else "a number"
            raise StateError(name, f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}")


def _check_together(state: LinkState) -> None:
    """Raise StateError if fields contradict each other."""
    if state.jitter_shape == "table" and len(state.jitter_table_s) < 2:
        raise StateError("jitter_table_s", "jitter_table_s must have at least 2 quantiles, since jitter_shape is table")
    if state.jitter_shape != "table" and state.jitter_table_s:
        raise StateError("jitter_shape", "jitter_shape must be table, since there is a jitter_table_s")
    if state.reorder and not state.delay_s:
        raise StateError("reorder", "reorder needs a delay_s: a packet overtakes by not being delayed")
    if state.trace and state.rate_bps:
        raise StateError("rate_bps", "rate_bps cannot be beside a trace, which gives the rate")
    _check_loss(state)
    _check_queue(state)
    for episode in state.episodes:
        try:
            replace(state, episodes=(), **episode.change)
        except StateError as error:
            raise StateError("episodes", f"{episode.name}: {error}") from None


def _check_loss(state: LinkState) -> None:
    if state.burst is None or not 0 < state.loss < 1:
        return
    least = state.loss / (1 - state.loss)  # shorter runs would leave fewer packets between them than there must be
    if state.burst < least:
        raise StateError(
            "burst",
            f"burst must be at least {least:.3g} for a loss of {state.loss:g}, or absent (independent losses)",
        )


def _check_queue(state: LinkState) -> None:
    if state.rate_bps is None:
        return
    packet_s = min(PACKET_BYTES, state.mtu_bytes or PACKET_BYTES) * 8 / state.rate_bps
    if state.queue_s < packet_s:
        raise StateError(
            "queue_s",
            f"queue_s must be at least {packet_s:.3g} at a rate_bps of {state.rate_bps:g}, the time of one packet",
        )


def changed(state: LinkState, changes: Mapping[str, Any]) -> LinkState:
    """The state with changes. StateError names an unknown field or a value that cannot be."""
    unknown = sorted(set(changes) - set(_DEFAULTS))
    if unknown:
        raise StateError(unknown[0], f"unknown field {unknown[0]!r}; known: {', '.join(_DEFAULTS)}")
    return replace(state, **changes)


def problem_with(changes: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> tuple[str, str] | None:
    """(field, message) of what is wrong with changes of a state; None if nothing is.

    state: its fields. Without one, each field is looked at by itself: how they go together depends on the others.
    """
    try:
        for name, value in changes.items():
            if name not in _DEFAULTS:
                raise StateError(name, f"unknown field {name!r}; known: {', '.join(_DEFAULTS)}")
            _check(name, value)
        if state is not None:
            LinkState(**{**state, **changes})
    except StateError as error:
        return error.field, str(error)
    return None


def gilbert_elliott(loss: float, burst: float | None) -> tuple[float, float]:
    """(p, r): chance to enter and to leave the losing state, per packet, for a long-run loss and a mean burst.

    r = 1/burst, p = loss*r/(1-loss); without a burst each packet is lost or not by itself: p = loss, r = 1-loss.
    """
    if loss <= 0:
        return 0.0, 1.0
    if loss >= 1:
        return 1.0, 0.0
    r = 1 - loss if burst is None else 1 / burst
    return loss * r / (1 - loss), r


_DEFAULTS = asdict(LinkState())

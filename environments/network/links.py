"""One direction of a link: what happens to a packet that enters it. Pure: no clock, no sockets.

Order of a hop, as in the field: the sender's queue and rate, then loss on the way (a lost packet has used its air
time), then delay with jitter. Packets of one direction never overtake each other.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class State:
    """Field for field the contract's LinkState; kept apart because importing the contract costs the router 0.2 s."""

    up: bool = True
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    burst: float = 1.0
    rate_bps: float | None = None
    queue_s: float = 1.0

    def __post_init__(self) -> None:
        problem = problem_with(asdict(self))
        if problem:
            raise ValueError(problem[1])

    def changed(self, changes: dict[str, Any]) -> State:
        """This state with changes. ValueError names an unknown field or a value out of range."""
        unknown = set(changes) - set(asdict(self))
        if unknown:
            raise ValueError(f"unknown field {sorted(unknown)[0]!r}; known: {', '.join(asdict(self))}")
        return replace(self, **changes)


_NUMBERS = {
    "delay_s": (0.0, 600.0),
    "jitter_s": (0.0, 600.0),
    "loss": (0.0, 1.0),
    "burst": (1.0, 1e6),
    "rate_bps": (1.0, 1e12),
    "queue_s": (0.0, 3600.0),
}


def problem_with(fields: dict[str, Any]) -> tuple[str, str] | None:
    """The first field whose value is out of range: (field, message); None if all are fine."""
    for name, value in fields.items():
        if name == "up":
            if not isinstance(value, bool):
                return name, f"up must be true or false, not {value!r}"
            continue
        if name not in _NUMBERS:
            return name, f"unknown field {name!r}; known: up, {', '.join(_NUMBERS)}"
        if name == "rate_bps" and value is None:
            continue
        low, high = _NUMBERS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return name, f"{name} must be a number from {low:g} to {high:g}, not {value!r}"
    return None


def gilbert_elliott(loss: float, burst: float) -> tuple[float, float]:
    """(p, r): chance to enter and to leave the losing state, per packet, for a long-run loss and a mean burst.

    r = 1/burst, p = loss*r/(1-loss). A burst shorter than chance alone gives, 1/(1-loss), means independent losses.
    """
    if loss <= 0:
        return 0.0, 1.0
    if loss >= 1:
        return 1.0, 0.0
    r = min(1 / burst, 1 - loss)
    return loss * r / (1 - loss), r


class LossChain:
    """Gilbert-Elliott loss: one draw per packet, so the same seed and the same packets give the same drops."""

    __slots__ = ("_draw", "bad", "p", "r")

    def __init__(self, seed: str) -> None:
        self._draw = random.Random(seed).random
        self.p, self.r, self.bad = 0.0, 1.0, False

    def configure(self, loss: float, burst: float) -> None:
        self.p, self.r = gilbert_elliott(loss, burst)

    def lost(self) -> bool:
        draw = self._draw()
        self.bad = draw >= self.r if self.bad else draw < self.p
        return self.bad


@dataclass
class Counters:
    offered: int = 0
    delivered: int = 0
    bytes_offered: int = 0
    bytes_delivered: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"loss": 0, "queue": 0, "down": 0})


class Direction:
    """Packets from one site to another. Times are of any monotonic clock, in seconds."""

    def __init__(self, link: str, source: str, target: str, state: State, seed: int) -> None:
        self.link = link  # name of the link that this is one direction of
        self.source, self.target, self.initial, self.seed = source, target, state, seed
        self.pending = 0  # packets on their way
        self.epoch = 0  # a cut starts a new one: what was on its way before it is lost
        self.state = state
        self.reset()

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"

    def reset(self) -> None:
        """Fresh counters and random sequences, as at the start; what is on its way is lost. The state stays."""
        self.counters = Counters()
        self.chain = LossChain(f"{self.seed}/{self.name}/loss")
        self._jitter = random.Random(f"{self.seed}/{self.name}/jitter").uniform
        self.epoch += 1
        self.set(self.state)

    def set(self, state: State) -> None:
        """Takes effect for packets that enter from now on; going down also loses what is on its way."""
        if self.state.up and not state.up:
            self.epoch += 1
        self.state = state
        self.chain.configure(state.loss, state.burst)
        self._free_at_s = 0.0  # when the last queued packet has left
        self._last_s = 0.0  # arrival of the packet before

    def travel_s(self) -> float:
        """One-way delay of the next packet, jitter uniform within its bound."""
        state = self.state
        if state.jitter_s:
            return max(0.0, state.delay_s + self._jitter(-state.jitter_s, state.jitter_s))
        return state.delay_s

    def offer(self, now_s: float, size: int) -> float | None:
        """When a packet of size bytes (IP header included) arrives at the other end; None if it never does."""
        counters, state = self.counters, self.state
        counters.offered += 1
        counters.bytes_offered += size
        if not state.up:
            counters.dropped["down"] += 1
            return None
        lost = self.chain.lost()
        leaves_s = now_s
        if state.rate_bps:
            starts_s = max(now_s, self._free_at_s)
            if starts_s - now_s > state.queue_s:
                counters.dropped["queue"] += 1
                return None
            leaves_s = self._free_at_s = starts_s + size * 8 / state.rate_bps
        if lost:
            counters.dropped["loss"] += 1
            return None
        self._last_s = max(self._last_s, leaves_s + self.travel_s())
        return self._last_s

    def arrived(self, size: int) -> None:
        self.counters.delivered += 1
        self.counters.bytes_delivered += size

"""One direction of a link: what happens to a packet that enters it. Pure: no clock, no sockets.

Order of a hop, as in the field: the sender's queue and rate, then loss on the way (a lost packet has used its air
time), then delay with jitter. Packets of one direction overtake each other only where `reorder` says so.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from environments.link import LinkState, changed, gilbert_elliott, traces
from environments.network.episodes import Weather

CAUSES = ("loss", "queue", "down", "mtu", "half_open")


class LossChain:
    """Gilbert-Elliott loss: one draw per packet, so the same seed and the same packets give the same drops."""

    __slots__ = ("_draw", "bad", "p", "r")

    def __init__(self, seed: str) -> None:
        self._draw = random.Random(seed).random
        self.p, self.r, self.bad = 0.0, 1.0, False

    def configure(self, loss: float, burst: float | None) -> None:
        self.p, self.r = gilbert_elliott(loss, burst)

    def lost(self) -> bool:
        draw = self._draw()
        self.bad = draw >= self.r if self.bad else draw < self.p
        return self.bad


@dataclass
class Counters:
    """queue_s, queue_bytes: what waits for the rate now; the most_ ones: the worst so far."""

    offered: int = 0
    delivered: int = 0
    bytes_offered: int = 0
    bytes_delivered: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    fragmented: int = 0
    queue_s: float = 0.0
    queue_bytes: int = 0
    most_queue_s: float = 0.0


class Direction:
    """Packets from one site to another. Times are of any monotonic clock, in seconds.

    state: as it was asked for; now: with the changes of the episodes that last at the moment.
    """

    def __init__(self, link: str, source: str, target: str, state: LinkState, seed: int, now_s: float = 0.0) -> None:
        self.link = link  # name of the link that this is one direction of
        self.source, self.target, self.initial, self.seed = source, target, state, seed
        self.pending = 0  # packets on their way
        self.epoch = 0  # a cut starts a new one: what was on its way before it is lost
        self.state = self.now = state
        self.reset(now_s)

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"

    def reset(self, now_s: float = 0.0) -> None:
        """Fresh counters and random sequences, as at the start; what is on its way is lost. The state stays."""
        self.counters = Counters()
        self.chain = LossChain(f"{self.seed}/{self.name}/loss")
        self._jitter = random.Random(f"{self.seed}/{self.name}/jitter")
        self._duplicate = random.Random(f"{self.seed}/{self.name}/duplicate").random
        self._reorder = random.Random(f"{self.seed}/{self.name}/reorder").random
        self._corrupt = random.Random(f"{self.seed}/{self.name}/corrupt")
        self.epoch += 1
        self._calm = False
        self.set(self.state, now_s)

    def set(self, state: LinkState, now_s: float = 0.0) -> None:
        """Takes effect for packets that enter from now on; going down also loses what is on its way."""
        trace = traces.load(state.trace) if state.trace else None
        self.state = state
        self._sender = traces.Sender(trace, now_s) if trace else None
        self.began_s = now_s
        stormy = state.episodes and not self._calm
        self.weather = Weather(state.episodes, f"{self.seed}/{self.link}", now_s) if stormy else None
        self.flows: set[bytes] = set()  # connections begun since, for half_open
        self._free_at_s = 0.0  # when the last queued packet has left
        self._last_s = 0.0  # arrival of the packet before
        self._waiting: deque[tuple[float, int]] = deque()  # (leaves at, bytes), kept where bytes are bounded
        self._waiting_bytes = 0
        self._apply(state)

    def _apply(self, now: LinkState) -> None:
        if self.now.up and not now.up:
            self.epoch += 1
        self.now = now
        self.chain.configure(now.loss, now.burst)
        self._lossy = now.loss > 0
        self._bounded = now.queue_bytes is not None or self._sender is not None
        self.plain = now.up and not (
            now.rate_bps or self._sender or now.loss or now.delay_s or now.jitter_s or now.jitter_table_s or now.reorder
        )
        self.mangles = bool(now.duplicate or now.corrupt)
        self.special = bool(not now.up or now.mtu_bytes or now.half_open)

    def calm(self, now_s: float) -> None:
        """No episodes until the next reset, whatever state is set meanwhile."""
        self._calm = True
        self.set(self.state, now_s)

    def next_change_s(self) -> float:
        """When the next episode begins or ends; infinity if there are none."""
        return self.weather.next_s if self.weather else float("inf")

    def advance(self, now_s: float) -> list[str]:
        """Begin and end the episodes that are due; what happened, a line each."""
        if self.weather is None or self.weather.next_s > now_s:
            return []
        said = self.weather.advance(now_s)
        self._apply(changed(self.state, {"episodes": (), **self.weather.changes()}))
        return said

    def travel_s(self) -> float:
        """One-way delay of the next packet."""
        now = self.now
        if now.jitter_table_s:
            place = self._jitter.random() * (len(now.jitter_table_s) - 1)
            below = int(place)
            low, high = now.jitter_table_s[below : below + 2]
            return max(0.0, now.delay_s + low + (high - low) * (place - below))
        if not now.jitter_s:
            return now.delay_s
        if now.jitter_shape == "normal":
            return max(0.0, self._jitter.gauss(now.delay_s, now.jitter_s))
        return max(0.0, now.delay_s + self._jitter.uniform(-now.jitter_s, now.jitter_s))

    def offer(self, now_s: float, size: int) -> float | None:
        """When a packet of size bytes (IP header included) arrives at the other end; None if it never does."""
        counters, now = self.counters, self.now
        counters.offered += 1
        counters.bytes_offered += size
        if not now.up:
            counters.dropped["down"] += 1
            return None
        lost = self._lossy and self.chain.lost()
        leaves_s = now_s
        if now.rate_bps or self._sender:
            queued = self._queue(now_s, size)
            if queued is None:
                counters.dropped["queue"] += 1
                return None
            leaves_s = queued
        if lost:
            counters.dropped["loss"] += 1
            return None
        if now.reorder and self._reorder() < now.reorder:
            counters.reordered += 1
            return leaves_s
        arrives_s = leaves_s + self.travel_s()
        if arrives_s > self._last_s:
            self._last_s = arrives_s
        return self._last_s

    def _queue(self, now_s: float, size: int) -> float | None:
        """When the packet has left the sender; None if the queue is full, in time or in bytes."""
        now = self.now
        if self._bounded:
            waiting = self._waiting
            while waiting and waiting[0][0] <= now_s:
                self._waiting_bytes -= waiting.popleft()[1]
            if now.queue_bytes is not None and waiting and self._waiting_bytes + size > now.queue_bytes:
                return None
        if self._sender:
            leaves_s = self._sender.copy().leaves_s(now_s, size)
            waits_s = leaves_s - now_s
            if waits_s > now.queue_s:
                return None
            self._sender.leaves_s(now_s, size)
        else:
            starts_s = max(now_s, self._free_at_s)
            waits_s = starts_s - now_s
            if waits_s > now.queue_s:
                return None
            leaves_s = starts_s + size * 8 / (now.rate_bps or 1)
        self._free_at_s = leaves_s
        if self._bounded:
            self._waiting.append((leaves_s, size))
            self._waiting_bytes += size
        if waits_s > self.counters.most_queue_s:
            self.counters.most_queue_s = waits_s
        return leaves_s

    def duplicated(self) -> bool:
        """Whether the next packet arrives twice."""
        if self.now.duplicate and self._duplicate() < self.now.duplicate:
            self.counters.duplicated += 1
            return True
        return False

    def mangled(self, packet: bytes, payload_at: int) -> bytes:
        """The packet, or with one bit turned over behind its IP header."""
        if not self.now.corrupt or self._corrupt.random() >= self.now.corrupt or len(packet) <= payload_at:
            return packet
        self.counters.corrupted += 1
        bit = self._corrupt.randrange(payload_at * 8, len(packet) * 8)
        made = bytearray(packet)
        made[bit >> 3] ^= 1 << (bit & 7)
        return bytes(made)

    def counted(self, now_s: float) -> Counters:
        """The counters, with what waits now."""
        counters = self.counters
        counters.queue_s = max(0.0, self._free_at_s - now_s)
        if self._bounded:
            counters.queue_bytes = sum(size for leaves_s, size in self._waiting if leaves_s > now_s)
        else:
            counters.queue_bytes = int(counters.queue_s * (self.now.rate_bps or 0) / 8)
        return counters

    def arrived(self, size: int) -> None:
        self.counters.delivered += 1
        self.counters.bytes_delivered += size

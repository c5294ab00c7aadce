"""Which packets a direction is measured by, and when they are sent; what came of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import pairwise

from environments.link import LinkState, gilbert_elliott, traces

HEADERS = 28  # IPv4 and UDP, bytes; rates count them
SMALL = 11  # payload of probes and loss packets: their mark, bytes
PROBE, TRAIN, LOSS = 0, 1, 2
NO_LOSS_CHANCE = 0.005  # enough packets that a true link shows no loss at all this seldom
TRAIN_LEAST = 8  # packets
_LOSS_PER_S = 10_000  # so that an ordinary user's receive buffer, 200 kB, holds what has not been read yet
_SPACING_S = 0.004
Plan = Generator[tuple[float, int, int, int], None, None]


@dataclass(frozen=True)
class Effort:
    """How much is measured. Probes come apart by twice the jitter as far as `spacing_s` allows, since packets that may
    not overtake each other hide jitter otherwise."""

    name: str
    probes: int
    probing_s: float  # how long probes may take
    spacing_s: float
    train_s: float
    train_packets: int
    loss_packets: tuple[int, int]  # as many as show the loss, within these
    loss_s: float  # how long they may take on a slow link
    everything: bool = True  # False: the delay only
    outage: bool = False  # of every link, not only of those with episodes


QUICK = Effort("quick", 20, 0.3, 0.06, 0.2, 400, (2000, 5000), 0.7)
FULL = Effort("full", 200, 30.0, 4.0, 2.0, 4000, (20_000, 20_000), 20.0, outage=True)
SPOT = Effort("spot", 5, 0.1, 0.02, 0, 0, (0, 0), 0, everything=False)


@dataclass
class Probed:
    """One direction under measurement. sent: (kind, sequence) -> seconds since the epoch, as is received."""

    number: int
    link: str
    source: str
    target: str
    state: LinkState
    effort: Effort
    sent: dict[tuple[int, int], float] = field(default_factory=dict)
    received: dict[tuple[int, int], float] = field(default_factory=dict)
    leaves: dict[tuple[int, int], float] = field(default_factory=dict)  # by its trace, if it has one
    train_size: int = 0  # bytes on the wire, each
    spacing_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"

    @property
    def silent(self) -> bool:
        """Nothing is meant to arrive."""
        return not self.state.up or self.state.loss >= 1

    @property
    def wants_outage(self) -> bool:
        return not self.silent and self.effort.everything and (self.effort.outage or bool(self.state.episodes))

    @property
    def rate_bps(self) -> float | None:
        """Of the rate or, on average, of the trace."""
        return traces.load(self.state.trace).mean_bps if self.state.trace else self.state.rate_bps

    def wire_s(self, size: int) -> float:
        """Time that `size` bytes take at the rate."""
        return size * 8 / self.state.rate_bps if self.state.rate_bps else 0.0

    @property
    def jitter_mean_s(self) -> float:
        return statistics.fmean(self._quantiles()) if self.state.jitter_table_s else 0.0

    @property
    def jitter_deviation_s(self) -> float:
        """Standard deviation of the delay."""
        if self.state.jitter_table_s:
            return statistics.pstdev(self._quantiles())
        return self.state.jitter_s / (1 if self.state.jitter_shape == "normal" else math.sqrt(3))

    def _quantiles(self) -> list[float]:
        table, parts = self.state.jitter_table_s, 50
        spans = pairwise(table)
        return [low + (high - low) * (part + 0.5) / parts for low, high in spans for part in range(parts)]

    @property
    def jitter_reach_s(self) -> float:
        """How far apart in time two packets must be, not to meet."""
        if self.state.jitter_table_s:
            return max(self.state.jitter_table_s) - min(self.state.jitter_table_s)
        return self.state.jitter_s * (6 if self.state.jitter_shape == "normal" else 2)

    @property
    def asked_delay_s(self) -> float:
        """Of a probe: the delay, and its own time on the wire."""
        return self.state.delay_s + self.jitter_mean_s + self.wire_s(SMALL + HEADERS)

    def plan(self) -> Plan:
        """(when, kind, sequence, payload bytes) of all packets, in order; when: seconds from the start."""
        effort, small_s = self.effort, self.wire_s(SMALL + HEADERS)
        self.spacing_s = max(_SPACING_S, min(self.jitter_reach_s, effort.spacing_s), 1.5 * small_s)
        probes = max(5, min(effort.probes, int(effort.probing_s / self.spacing_s)))
        for number in range(probes):
            yield number * self.spacing_s, PROBE, number, SMALL
        if not effort.everything or self.silent:
            return
        at_s = probes * self.spacing_s
        at_s += yield from self._train(at_s)
        if self.state.loss:
            yield from self._losses(at_s, small_s)

    def _train(self, at_s: float) -> Generator[tuple[float, int, int, int], None, float]:
        """All at once, as many as the queue takes; returns how long the link is busy with them."""
        rate_bps, state = self.rate_bps, self.state
        if not rate_bps:
            return 0.0
        wire = rate_bps * self.effort.train_s / 8 / TRAIN_LEAST
        self.train_size = int(max(SMALL + HEADERS, min(1428, wire)))
        if state.queue_bytes:
            self.train_size = min(self.train_size, state.queue_bytes // 4)
        each_s = self.train_size * 8 / rate_bps
        within_s = max(0.0, min(self.effort.train_s, 0.8 * state.queue_s))
        most = self.effort.train_packets
        if state.queue_bytes:
            most = min(most, state.queue_bytes // self.train_size)
        count = max(4, min(most, int(within_s / each_s)))
        for number in range(count):
            yield at_s, TRAIN, number, self.train_size - HEADERS
        return count * each_s

    def _losses(self, at_s: float, small_s: float) -> Plan:
        least, most = self.effort.loss_packets
        entering, _ = gilbert_elliott(self.state.loss, self.state.burst)
        count = max(least, min(most, math.ceil(-math.log(NO_LOSS_CHANCE) / entering)))
        if self.rate_bps:
            small_s = small_s or (SMALL + HEADERS) * 8 / self.rate_bps
            count = max(5, min(count, int(self.effort.loss_s / small_s)))
        gap_s = max(1 / _LOSS_PER_S, 1.02 * small_s)  # a little under the rate: none is refused by the queue
        for number in range(count):
            yield at_s + number * gap_s, LOSS, number, SMALL

    @property
    def last_arrival_s(self) -> float:
        """When the last packet sent is due, seconds since the epoch."""
        if not self.sent:
            return 0.0
        busy_s = sum(self.wire_s(self.train_size) for kind, _ in self.sent if kind == TRAIN)
        busy_s += sum(self.wire_s(SMALL + HEADERS) for kind, _ in self.sent if kind == LOSS)
        busy_from_s = min((at for (kind, _), at in self.sent.items() if kind != PROBE), default=0.0)
        last_s = max(self.sent.values()) + self.wire_s(SMALL + HEADERS)
        last_s = max(last_s, busy_from_s + busy_s, max(self.leaves.values(), default=0.0))
        return last_s + self.state.delay_s + self.jitter_reach_s

    def delays(self) -> list[float]:
        """Of the probes; of a trace's, from when it let them go."""
        began = self.leaves or self.sent
        return [at - began[key] for key, at in self.received.items() if key[0] == PROBE]

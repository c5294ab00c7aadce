"""Calibration: what was asked of each link against what it does, measured by UDP between the sites themselves.

Both ends are sockets of this process, opened in the two namespaces, so one clock stamps both: the one-way delay of each
direction is measured by itself, and a round trip is the sum of two. Arrival is stamped by the kernel. All directions
are measured at once: spaced probes (delay), then a train (rate), then small packets (loss, where some is asked).
A direction that is off is measured again, twice at most: a busy machine is off now and then, a wrong link each time.
Rows: `delay_s` and `rate_bps` and `loss` per direction (`a>b`), `rtt_s` per link (`a--b`).
"""

from __future__ import annotations

import math
import select
import socket
import statistics
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from environments.contract.deployment import Calibration
from environments.link import LinkState, gilbert_elliott
from environments.network.site import Site

HEADERS = 28  # IPv4 and UDP, bytes; rates count them
DELAY_TOLERANCE, DELAY_FLOOR_S = 0.05, 0.002
RATE_TOLERANCE, RATE_FLOOR_S = 0.05, 0.001
Z99 = 2.576
_PROBE, _TRAIN, _LOSS = 0, 1, 2
_MARK = struct.Struct("!IHBI")  # calibration, direction, kind, sequence
_SMALL = _MARK.size  # payload of probes and loss packets, bytes
_PROBES, _PROBING_S, _SPACING_S = 20, 0.3, 0.004
_TRAIN_S, _TRAIN_PACKETS, _TRAIN_LEAST = 0.2, 400, 8
_LOSS_S, _LOSS_PACKETS, _LOSS_MOST = 0.7, 2000, 5000
_NO_LOSS_CHANCE = 0.005  # enough packets that a true link shows no loss at all this seldom
_LOSS_PER_S = 10_000  # so that an ordinary user's receive buffer, 200 kB, holds what has not been read yet
_GRACE_S = 0.05
_ROUNDS = 3
_SO_TIMESTAMPNS = 35
_BUFFER = 8 << 20


@dataclass
class Direction:
    """One direction under measurement. sent: (kind, sequence) -> seconds since the epoch, as is received."""

    number: int
    link: str
    source: str
    target: str
    state: LinkState
    sent: dict[tuple[int, int], float] = field(default_factory=dict)
    received: dict[tuple[int, int], float] = field(default_factory=dict)
    train_size: int = 0  # bytes on the wire, each

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"

    def wire_s(self, size: int) -> float:
        """Time that `size` bytes take at the rate."""
        return size * 8 / self.state.rate_bps if self.state.rate_bps else 0.0

    @property
    def asked_delay_s(self) -> float:
        """Of a probe: the delay, and its own time on the wire."""
        return self.state.delay_s + self.wire_s(_SMALL + HEADERS)

    def plan(self) -> Iterator[tuple[float, int, int, int]]:
        """(when, kind, sequence, payload bytes) of all packets, in order; when: seconds from the start."""
        spacing_s = max(_SPACING_S, min(2 * self.state.jitter_s, 0.06), 1.5 * self.wire_s(_SMALL + HEADERS))
        probes = max(5, min(_PROBES, int(_PROBING_S / spacing_s)))
        for number in range(probes):
            yield number * spacing_s, _PROBE, number, _SMALL
        at_s, backlog_s = probes * spacing_s, 0.0
        state = self.state
        if state.rate_bps:
            wire = state.rate_bps * _TRAIN_S / 8 / _TRAIN_LEAST
            self.train_size = int(max(_SMALL + HEADERS, min(1428, wire)))
            within_s = max(0.0, min(_TRAIN_S, 0.8 * state.queue_s))
            count = max(4, min(_TRAIN_PACKETS, int(within_s / self.wire_s(self.train_size))))
            for number in range(count):
                yield at_s, _TRAIN, number, self.train_size - HEADERS
            backlog_s = count * self.wire_s(self.train_size)
        if state.loss:
            entering, _ = gilbert_elliott(state.loss, state.burst)
            count = max(_LOSS_PACKETS, min(_LOSS_MOST, math.ceil(-math.log(_NO_LOSS_CHANCE) / entering)))
            if state.rate_bps:
                within_s = max(0.0, min(_LOSS_S, 0.8 * state.queue_s))
                count = max(5, min(count, int(within_s / self.wire_s(_SMALL + HEADERS))))
            for number in range(count):
                yield at_s + backlog_s + number / _LOSS_PER_S, _LOSS, number, _SMALL

    @property
    def last_arrival_s(self) -> float:
        """When the last packet sent is due, seconds since the epoch."""
        if not self.sent:
            return 0.0
        busy_s = sum(self.wire_s(self.train_size) for kind, _ in self.sent if kind == _TRAIN)
        busy_s += sum(self.wire_s(_SMALL + HEADERS) for kind, _ in self.sent if kind == _LOSS)
        busy_from_s = min((at for (kind, _), at in self.sent.items() if kind != _PROBE), default=0.0)
        probes_end_s = max(self.sent.values()) + self.wire_s(_SMALL + HEADERS)
        return max(busy_from_s + busy_s, probes_end_s) + self.state.delay_s + self.state.jitter_s

    def delays(self) -> list[float]:
        return [at - self.sent[key] for key, at in self.received.items() if key[0] == _PROBE]

    def delay_tolerance(self, asked_s: float, samples: int) -> float:
        chance_s = Z99 * self.state.jitter_s / math.sqrt(3) / math.sqrt(max(1, samples))
        return max(DELAY_TOLERANCE * asked_s, DELAY_FLOOR_S) + chance_s

    def rows(self) -> list[Calibration]:
        return [row for row in (self._delay(), self._rate(), self._loss()) if row]

    def _delay(self) -> Calibration | None:
        if self.state.loss >= 1:
            return None
        delays = self.delays()
        asked_s = self.asked_delay_s
        tolerance = self.delay_tolerance(asked_s, len(delays))
        return row(self.name, "delay_s", asked_s, middle(delays), tolerance, len(delays), least=3)

    def _rate(self) -> Calibration | None:
        asked = self.state.rate_bps
        if not asked or self.state.loss >= 1:
            return None
        arrivals = sorted((sequence, at) for (kind, sequence), at in self.received.items() if kind == _TRAIN)
        if len(arrivals) < 3:
            return row(self.name, "rate_bps", asked, 0.0, RATE_TOLERANCE * asked, len(arrivals), least=3)
        if not self.state.loss:  # a packet lost on the way has used its time on the wire; one the queue refused has not
            arrivals = [(place, at) for place, (_, at) in enumerate(arrivals)]
        half = len(arrivals) // 2  # the median over pairs half a train apart: a stall of this process moves few of them
        pairs = list(zip(arrivals, arrivals[half:], strict=False))
        took_s = max(1e-9, statistics.median((late[1] - early[1]) / (late[0] - early[0]) for early, late in pairs))
        span_s = took_s * (pairs[0][1][0] - pairs[0][0][0])
        tolerance = max(RATE_TOLERANCE, (RATE_FLOOR_S + self.state.jitter_s) / span_s) * asked
        return row(self.name, "rate_bps", asked, self.train_size * 8 / took_s, tolerance, len(arrivals), least=3)

    def _loss(self) -> Calibration:
        kind = _LOSS if self.state.loss else _PROBE
        sent = sum(each == kind for each, _ in self.sent)
        lost = sent - sum(each == kind for each, _ in self.received)
        loss = self.state.loss
        p, r = gilbert_elliott(loss, self.state.burst)
        together = max(0.0, 1 - p - r)  # correlation of one packet's fate with the next one's
        inflated = (1 + together) / max(1e-9, 1 - together)
        tolerance = 0.0
        if 0 < loss < 1:
            tolerance = Z99 * math.sqrt(loss * (1 - loss) * inflated / max(1, sent)) + 1 / max(1, sent)
        if not lost and (1 - p) ** sent < 2 * _NO_LOSS_CHANCE:  # bursts are rare events: the tolerance may span zero
            tolerance = min(tolerance, loss / 2)
        return row(self.name, "loss", loss, lost / max(1, sent), tolerance, sent, least=5)


def row(
    link: str, measure: str, asked: float, measured: float, tolerance: float, samples: int, *, least: int
) -> Calibration:
    """ok: within the tolerance, on at least `least` samples."""
    ok = samples >= least and abs(measured - asked) <= tolerance
    return Calibration(link, measure, asked, measured, tolerance, ok, samples)


def middle(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def calibrate(sites: Mapping[str, Site], links: Sequence[Mapping[str, Any]]) -> list[Calibration]:
    """Measure every direction that is up. links: the router's, as `show` gives them."""
    directions = [
        Direction(number, link["link"], link["a"], link["b"], LinkState(**link["asked"]))
        for number, link in enumerate(links)
        if link["state"]["up"]
    ]
    sockets = {name: _open(sites[name]) for name in {end for d in directions for end in (d.source, d.target)}}
    try:
        todo = directions
        for number in range(_ROUNDS):
            if todo:
                _measure(number, todo, sockets)
                todo = [d for d in todo if not all(each.ok for each in d.rows())]
    finally:
        for each in sockets.values():
            each.close()
    rows = [result for direction in directions for result in direction.rows()]
    return rows + _round_trips(directions)


def _open(site: Site) -> socket.socket:
    try:
        made = site.socket(socket.AF_INET, socket.SOCK_DGRAM, buffer_bytes=_BUFFER)
    except PermissionError:  # an ordinary user has the system's default
        made = site.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    made.bind((site.address, 0))
    return made


def _measure(number: int, directions: Sequence[Direction], sockets: Mapping[str, socket.socket]) -> None:
    mark = (int.from_bytes(b"cal", "big") << 8) + number
    by_number = {d.number: d for d in directions}
    for direction in directions:
        direction.sent.clear()
        direction.received.clear()
    plan = sorted((at, d.number, kind, sequence, size) for d in directions for at, kind, sequence, size in d.plan())
    start_s, since_read = time.monotonic(), 0
    for at_s, which, kind, sequence, size in plan:
        _receive(sockets, by_number, mark, start_s + at_s)
        direction = by_number[which]
        payload = _MARK.pack(mark, which, kind, sequence).ljust(size, b"\0")
        direction.sent[kind, sequence] = time.time()
        sockets[direction.source].sendto(payload, sockets[direction.target].getsockname())
        since_read += 1
        if since_read >= 64:
            since_read = 0  # the receivers' buffers must not fill while there is much to send
            _receive(sockets, by_number, mark, 0.0, at_least_once=True)
    ends_s = max(d.last_arrival_s for d in directions) + _GRACE_S
    while time.time() < ends_s and any(len(d.received) < len(d.sent) for d in directions):
        _receive(sockets, by_number, mark, time.monotonic() + min(0.01, max(0.0, ends_s - time.time())))


def _receive(
    sockets: Mapping[str, socket.socket],
    directions: Mapping[int, Direction],
    mark: int,
    until_s: float,
    *,
    at_least_once: bool = False,
) -> None:
    """Take what arrives, until a time of the monotonic clock."""
    while at_least_once or time.monotonic() < until_s:
        wait_s = max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select(list(sockets.values()), [], [], wait_s)
        for each in ready:
            _drain(each, directions, mark)
        if at_least_once:
            return


def _drain(source: socket.socket, directions: Mapping[int, Direction], mark: int) -> None:
    while True:
        try:
            data, extra, _, _ = source.recvmsg(2048, 64)
        except BlockingIOError:
            return
        if len(data) < _MARK.size:
            continue
        seen, which, kind, sequence = _MARK.unpack_from(data)
        if seen == mark and which in directions:
            seconds, nanoseconds = struct.unpack_from("@ll", extra[0][2])
            directions[which].received[kind, sequence] = seconds + nanoseconds / 1e9


def _round_trips(directions: Sequence[Direction]) -> list[Calibration]:
    by_ends = {(d.source, d.target): d for d in directions}
    found = []
    for there in directions:
        back = by_ends.get((there.target, there.source))
        if back is None or there.number > back.number or 1 in (there.state.loss, back.state.loss):
            continue
        asked_s = there.asked_delay_s + back.asked_delay_s
        ways = (there.delays(), back.delays())
        samples = min(len(way) for way in ways)
        chance_s = there.delay_tolerance(0, samples) + back.delay_tolerance(0, samples) - 2 * DELAY_FLOOR_S
        tolerance = max(DELAY_TOLERANCE * asked_s, DELAY_FLOOR_S) + chance_s
        found.append(row(there.link, "rtt_s", asked_s, middle(ways[0]) + middle(ways[1]), tolerance, samples, least=3))
    return found

"""What becomes of packets that leave a site: taken to the sentinel, and its answer carried out.

The first answer to an attempt (a refusal, a handshake) is held until the site's agent has said which process made it,
at most HOLD_S: a client that is answered may be gone a moment later. Nothing else waits for that, no packet between
sites, and not what is dropped anyway.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from typing import Protocol

from environments.network.sentinel import Outcome, Sentinel

HOLD_S = 0.1
_MOST = 1024  # answers held at once; in a flood they go out at once


class Port(Protocol):
    """The router's end of a site."""

    name: str
    fd: int


class Departures:
    """forward: passes a packet to the namespace that answers all."""

    def __init__(self, sentinel: Sentinel, forward: Callable[[bytes], None]) -> None:
        self._sentinel, self._owners, self._forward = sentinel, sentinel.owners, forward
        self._held: dict[int, tuple[Port, bytes, Outcome]] = {}  # by flow
        self._deadlines: list[tuple[float, int]] = []

    def take(self, port: Port, packet: bytes) -> None:
        """A packet that is addressed to no site."""
        outcome = self._sentinel.receive(port.name, packet)
        if outcome.flow and self._owners.is_asked(outcome.flow) and len(self._held) < _MOST:
            self._held[outcome.flow] = port, packet, outcome
            heapq.heappush(self._deadlines, (time.monotonic() + HOLD_S, outcome.flow))
        else:
            self._carry_out(port, packet, outcome)

    def fds(self) -> list[int]:
        return self._owners.fds()

    def read(self, fd: int) -> None:
        """An agent has answered: its answers go to the ledger, and what was held for them out."""
        for flow, found in self._owners.read(fd):
            if found:
                self._sentinel.ledger.learn(flow, **found)
            self._release(flow)

    def release(self, now: float) -> float:
        """Let out what was held too long; when the next is due, infinity if none is."""
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._held):
            self._release(heapq.heappop(self._deadlines)[1])
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def _release(self, flow: int) -> None:
        if flow in self._held:
            self._carry_out(*self._held.pop(flow))

    def _carry_out(self, port: Port, packet: bytes, outcome: Outcome) -> None:
        if outcome.reply:
            os.write(port.fd, outcome.reply)
        elif outcome.forward:
            self._forward(packet)

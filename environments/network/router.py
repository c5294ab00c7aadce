"""The router of one deployment: the only way between its sites. Run as `python -m environments.network.router FD`.

FD is a seqpacket socket to the process that started it: the first message is the configuration with the sites' TUN
descriptors, later ones may add the sentinel's namespace, and its end is the router's end. A second socket,
<workdir>/router.sock, takes commands as JSON lines from any shell (see control.py).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import heapq
import json
import os
import select
import socket
import time
from pathlib import Path
from typing import Any

from environments.link import LinkState
from environments.network import addresses, defects, ledger
from environments.network.capture import Captures
from environments.network.control import Control
from environments.network.departures import Departures
from environments.network.links import Direction
from environments.network.middlebox import admitted, payload_at
from environments.network.sentinel import Sentinel, site_hosts

BATCH = 64  # packets read from one site before the others get a turn
_PACKET = 65536
_PR_SET_TIMERSLACK = 29


class Port:
    """The router's end of a site."""

    def __init__(self, name: str, fd: int) -> None:
        self.name, self.fd = name, fd
        self.directions: dict[str, Direction] = {}
        self.unlinked = 0  # packets to a site that no link leads to


class Router:
    """Sites, links between them, the sentinel, and packets on their way."""

    def __init__(self, config: dict[str, Any], fds: list[int]) -> None:
        self.config, self.seed = config, int(config["seed"])
        self.workdir = Path(config["workdir"])
        self.ports = {name: Port(name, fd) for name, fd in zip(config["sites"], fds, strict=True)}
        self.by_fd = {port.fd: port for port in self.ports.values()}
        self.by_address: dict[bytes, Port] = {}
        for name, pair in site_hosts(config["sites"]).items():
            port = self.ports[name.removesuffix("." + addresses.HOST_SUFFIX)]
            self.by_address.update(dict.fromkeys(pair, port))
        self.directions: dict[tuple[str, str], Direction] = {}
        began_s = time.monotonic()
        for entry in config["links"]:
            a, b = entry["a"], entry["b"]
            state = LinkState(**entry["state"])
            self.directions[a, b] = Direction(entry["link"], a, b, state, self.seed, began_s)
            self.ports[a].directions[b] = self.directions[a, b]
        self.sentinel = Sentinel(self.workdir / ledger.FILE, allow=config["allow"], hosts=site_hosts(config["sites"]))
        self.departures = Departures(self.sentinel, self._to_answerer)
        self.answerer: Answerer | None = None
        self.capture: Captures | None = None
        self._travelling: list[tuple[float, int, Direction, int, bytes]] = []
        self._sequence = 0
        self.control = Control(self)
        self._alarm = Alarm()

    def forward(self, port: Port, packet: bytes) -> None:
        """Take one packet that a site has sent."""
        if self.capture:
            self.capture.sent(port.name, packet)
        target = self.by_address.get(packet[24:40] if packet[0] >= 0x60 else packet[16:20])
        if target is None:
            self.departures.take(port, packet)
            return
        direction = port.directions.get(target.name)
        if direction is None:
            port.unlinked += 1
            return
        if direction.special:
            self._past_middlebox(port, direction, packet)
        else:
            self._send(direction, packet)

    def _past_middlebox(self, port: Port, direction: Direction, packet: bytes) -> None:
        """Links that are down, forget connections or take small packets only."""
        answer, pieces = admitted(direction, self.directions[direction.target, direction.source], packet)
        if answer:
            os.write(port.fd, answer)
        for piece in pieces:
            self._send(direction, piece)

    def _send(self, direction: Direction, packet: bytes) -> None:
        now = time.monotonic()
        if direction.plain:
            counters = direction.counters
            counters.offered += 1
            counters.bytes_offered += len(packet)
            arrival = now
        else:
            offered = direction.offer(now, len(packet))
            if offered is None:
                return
            arrival = offered
        copies = 1
        if direction.mangles:
            packet = direction.mangled(packet, payload_at(packet))
            copies += direction.duplicated()
        for _ in range(copies):
            if arrival <= now and not direction.pending:
                self._deliver(direction, packet)
                continue
            direction.pending += 1
            self._sequence += 1
            heapq.heappush(self._travelling, (arrival, self._sequence, direction, direction.epoch, packet))

    def _deliver(self, direction: Direction, packet: bytes) -> None:
        try:
            os.write(self.ports[direction.target].fd, packet)
        except OSError:
            direction.counters.dropped["down"] += 1
            return
        if self.capture:
            self.capture.received(direction.target, packet)
        counters = direction.counters
        counters.delivered += 1
        counters.bytes_delivered += len(packet)

    def release(self, now: float) -> None:
        """Deliver what has arrived; what was on its way when its link was cut is lost."""
        travelling = self._travelling
        while travelling and travelling[0][0] <= now:
            _, _, direction, epoch, packet = heapq.heappop(travelling)
            direction.pending -= 1
            if epoch == direction.epoch:
                self._deliver(direction, packet)
            else:
                direction.counters.dropped["down"] += 1

    def weather(self, now: float) -> float:
        """Begin and end the episodes that are due; when the next one does."""
        due = float("inf")
        for direction in self.directions.values():
            for said in direction.advance(now):
                self.control.note(direction, said)
            due = min(due, direction.next_change_s())
        return due

    def _to_answerer(self, packet: bytes) -> None:
        if self.answerer:
            self.answerer.take(packet)

    def drain(self) -> None:
        """Read all that the sites have sent so far, so that a question about the past has the whole past."""
        for port in self.ports.values():
            self._read(port.fd, addresses.TUN_QUEUE)

    def _read(self, fd: int, limit: int) -> int:
        port = self.by_fd[fd]
        for count in range(limit):
            try:
                packet = os.read(fd, _PACKET)
            except BlockingIOError:
                return count
            self.forward(port, packet)
        return limit

    def reset(self) -> None:
        """Counters and random sequences as at the start; packets on their way are lost."""
        self.drain()
        self._travelling.clear()
        now = time.monotonic()
        for direction in self.directions.values():
            direction.pending = 0
            direction.reset(now)

    def run(self, parent: socket.socket) -> None:
        """Serve until the process at the other end of `parent` is gone."""
        control = self.control
        while True:
            now = time.monotonic()
            self.release(now)
            due = min(control.play_due(now), self.weather(now), self.departures.release(now))
            if self._travelling:
                due = min(due, self._travelling[0][0])
            answering = self.answerer.fds() if self.answerer else []
            owners = self.departures.fds()
            wait = self._alarm.wait_s(due)
            ready, _, _ = select.select(
                [*self.by_fd, parent.fileno(), *control.fds(), *answering, *owners], [], [], wait
            )
            commands = []
            for fd in ready:
                if fd in self.by_fd:
                    self._read(fd, BATCH)
                elif fd == parent.fileno():
                    message, fds, _, _ = socket.recv_fds(parent, _PACKET, 4)
                    if not message:
                        return
                    self.answerer = Answerer(fds[0], fds[1], self.by_address)
                    parent.send(b"{}")
                elif fd in answering and self.answerer:
                    self.answerer.read(fd)
                elif fd in owners:
                    self.departures.read(fd)
                else:
                    commands.append(fd)
            if commands:
                self.drain()
                for fd in commands:
                    control.serve(fd)


class Alarm:
    """How long to sleep until something is due. A processor that has slept long wakes up late: then, and only then, get
    up early and stay awake until the time has come; between packets that follow each other closely it is not worth it.
    """

    LONG_S, EARLY_S = 0.003, 0.0003

    def __init__(self) -> None:
        self._early = False

    def wait_s(self, due_s: float) -> float | None:
        """Seconds, None without end. due_s: of the monotonic clock, infinity for nothing."""
        if due_s == float("inf"):
            return None
        left_s = due_s - time.monotonic()
        if left_s > self.LONG_S:
            self._early = True
            return left_s - self.EARLY_S
        if self._early and left_s <= self.EARLY_S:
            return 0.0
        self._early = False
        return max(0.0, left_s)


class Answerer:
    """The namespace that answers everything: its TUN, and a socket to the server in it that opens ports on request."""

    def __init__(self, tun: int, server: int, sites: dict[bytes, Port]) -> None:
        self.tun, self._sites = tun, sites
        self._server = socket.socket(fileno=server)
        self._open: set[int] = set()
        self._waiting: dict[int, list[bytes]] = {}

    def fds(self) -> list[int]:
        return [self.tun, self._server.fileno()]

    def take(self, packet: bytes) -> None:
        """Pass a packet on; a first TCP packet to a port waits until the server listens there."""
        version, protocol = packet[0] >> 4, packet[9] if packet[0] < 0x60 else packet[6]
        if protocol != 6:
            os.write(self.tun, packet)
            return
        at = 40 if version == 6 else (packet[0] & 15) * 4
        port = int.from_bytes(packet[at + 2 : at + 4], "big")
        if port in self._open:
            os.write(self.tun, packet)
            return
        if port not in self._waiting:
            self._server.send(json.dumps({"listen": port}).encode())
        self._waiting.setdefault(port, []).append(packet)

    def read(self, fd: int) -> None:
        if fd == self.tun:
            for _ in range(BATCH):
                try:
                    packet = os.read(fd, _PACKET)
                except BlockingIOError:
                    return
                site = self._sites.get(packet[24:40] if packet[0] >= 0x60 else packet[16:20])
                if site:
                    os.write(site.fd, packet)
        else:
            message = self._server.recv(_PACKET)
            if not message:
                return
            port = json.loads(message)["listening"]
            self._open.add(port)
            for packet in self._waiting.pop(port, []):
                os.write(self.tun, packet)


def take_precedence() -> None:
    """Run before other work of the machine, where we may: delays must be the link's, not the scheduler's."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # wake within microseconds of the time asked
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.nice(-15)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("fd", type=int)
    arguments.add_argument("--defect", action="append", default=[], choices=sorted(defects.DEFECTS))
    options = arguments.parse_args()
    for name in options.defect:
        defects.DEFECTS[name]()
    take_precedence()
    with socket.socket(fileno=options.fd) as parent:
        message, fds, _, _ = socket.recv_fds(parent, 1 << 20, 253)
        if not message:
            return
        router = Router(json.loads(message), list(fds))
        parent.send(b"{}")
        message, fds, _, _ = socket.recv_fds(parent, 1 << 20, 253)
        if not message:
            return
        router.sentinel.owners.attach(json.loads(message)["owners"], list(fds))
        parent.send(b"{}")
        router.run(parent)


if __name__ == "__main__":
    main()

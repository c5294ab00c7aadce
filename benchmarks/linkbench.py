"""What the network's benchmarks do to a link of two sites."""

from __future__ import annotations

import select
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from environments.contract import Calibration, LinkState
from environments.network import Network, SitePlan
from environments.network.calibration import Effort

LINK = ("edge-1", "core")


@contextmanager
def network(state: LinkState, *, sites: int = 2, mtu_bytes: int = 1500, seed: int = 42) -> Iterator[Network]:
    """core and edge-1 to edge-(sites - 1), each linked to core, both ways alike."""
    edges = [f"edge-{index}" for index in range(1, sites)]
    plans = [SitePlan("core", 0, mtu_bytes=mtu_bytes)]
    plans += [SitePlan(name, index, sealed=True, mtu_bytes=mtu_bytes) for index, name in enumerate(edges, 1)]
    links = {(name, "core"): state for name in edges}
    with (
        tempfile.TemporaryDirectory() as workdir,
        Network.start("benchmark", plans, links, seed, Path(workdir)) as started,
    ):
        yield started


def rows_of(state: LinkState, effort: Effort) -> list[Calibration]:
    with network(state) as started:
        return started.calibrate(effort)


def udp_ends(started: Network) -> tuple[socket.socket, socket.socket]:
    ends = []
    for name in LINK:
        end = started.site(name).socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.bind((started.address(name), 0))
        end.settimeout(10)
        ends.append(end)
    return ends[0], ends[1]


def echo_s(started: Network, count: int) -> list[float]:
    """Round trips of one datagram at a time, both ends in this process."""
    here, there = udp_ends(started)
    trips = []
    for _ in range(count):
        began = time.perf_counter()
        here.sendto(b"x", there.getsockname())
        there.recv(10)
        there.sendto(b"x", here.getsockname())
        here.recv(10)
        trips.append(time.perf_counter() - began)
    return trips


def flood(started: Network, size: int) -> tuple[float, float]:
    """(bit/s of payload, packets/s both ways) of one TCP connection that carries `size` bytes."""
    server = started.site("core").socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("0.0.0.0", 4000))
    server.listen()
    client = started.site("edge-1").connect(4000, started.address("core"))
    connection, _ = server.accept()
    server.close()
    client.setblocking(False)
    before = _packets(started)
    data, buffer, left = bytes(1 << 20), bytearray(1 << 20), size
    began = time.perf_counter()
    while left > 0:
        readable, writable, _ = select.select([connection], [client], [], 5)
        if writable:
            client.send(data)
        if readable:
            left -= connection.recv_into(buffer)
    took_s = time.perf_counter() - began
    client.close()
    connection.close()
    return size * 8 / took_s, (_packets(started) - before) / took_s


def _packets(started: Network) -> int:
    return sum(started.links.counters(*ends).delivered for ends in (LINK, LINK[::-1]))


def drops(state: LinkState, seed: int, count: int) -> set[int]:
    """Numbers of the datagrams that do not arrive, of `count` sent as fast as the receiver keeps up."""
    with network(state, seed=seed) as started:
        here, there = udp_ends(started)
        seen: set[int] = set()
        for number in range(count):
            here.sendto(number.to_bytes(4, "big"), there.getsockname())
            if number % 64 == 63:
                started.ask("sync")
                seen |= _waiting(there)
        started.ask("sync")
        return set(range(count)) - seen - _waiting(there)


def _waiting(end: socket.socket) -> set[int]:
    found = set()
    while select.select([end], [], [], 0)[0]:
        found.add(int.from_bytes(end.recv(16), "big"))
    return found


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)

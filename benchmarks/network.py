"""What the local network costs and how true it is: start, round trip, throughput, asked against measured.

Run `python benchmarks/network.py [--links]`; prints Markdown. --links: every preset of profiles/links.yaml as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environments.contract.deployment import Calibration, LinkState
from environments.network import Network, SitePlan

STATES = {
    "no limits": LinkState(),
    "100 ms": LinkState(delay_s=0.1),
    "20 ms ± 7 ms, 1.5 % in bursts of 4": LinkState(delay_s=0.02, jitter_s=0.007, loss=0.015, burst=4),
    "GEO: 280 ms ± 15 ms, 2 Mbit/s, 0.5 %/4": LinkState(
        delay_s=0.28, jitter_s=0.015, rate_bps=2e6, loss=0.005, burst=4
    ),
    "radio: 500 ms, 16 kbit/s": LinkState(delay_s=0.5, rate_bps=16e3, queue_s=2),
    "100 ms, 250 kbit/s, 20 % in bursts of 20": LinkState(delay_s=0.1, rate_bps=250e3, loss=0.2, burst=20),
    "50 Mbit/s, 20 ms": LinkState(delay_s=0.02, rate_bps=50e6),
    "100 Mbit/s, 10 ms": LinkState(delay_s=0.01, rate_bps=100e6),
}


@contextmanager
def network(there: LinkState, back: LinkState | None = None, sites: int = 2) -> Iterator[Network]:
    plans = [SitePlan("core", 0), *(SitePlan(f"edge-{index}", index, sealed=True) for index in range(1, sites))]
    links = {(f"edge-{index}", "core"): there for index in range(1, sites)}
    links |= {("core", f"edge-{index}"): back or there for index in range(1, sites)}
    with (
        tempfile.TemporaryDirectory() as workdir,
        Network.start("benchmark", plans, links, 42, Path(workdir)) as started,
    ):
        yield started


def say(*cells: object) -> None:
    sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")


def number(measure: str, value: float) -> str:
    if measure == "rate_bps":
        return f"{value / 1e3:.1f} kbit/s"
    return f"{value * 1e3:.2f} ms" if measure in ("rtt_s", "delay_s") else f"{value * 100:.2f} %"


def costs() -> None:
    say("what", "figure")
    say("---", "---")
    for sites in (2, 4):
        times = []
        for _ in range(5):
            began = time.monotonic()
            with network(LinkState(), sites=sites) as started:
                times.append(time.monotonic() - began)
                agent = psutil.Process(next(iter(started.sites.values())).process.pid).memory_info()
        say(f"start of {sites} sites, median of 5", f"{statistics.median(times) * 1e3:.0f} ms")
    say("memory of an agent", f"{agent.rss / 2**20:.1f} MiB resident")
    with network(LinkState()) as started:
        trips = sorted(echo(started, 500))
        say("round trip, idle, no delay asked: p50, p99", f"{trips[250] * 1e3:.2f} ms, {trips[495] * 1e3:.2f} ms")
        say("TCP through the router, MTU 1500", f"{tcp_bps(started, 60_000_000) / 1e6:.0f} Mbit/s")
        began = time.monotonic()
        seen = started.egress.plant("edge-1")
        say(f"{sum(seen.values())} of {len(seen)} canaries seen in", f"{(time.monotonic() - began) * 1e3:.1f} ms")
        commands = []
        for _ in range(200):
            began = time.monotonic()
            started.links.set("edge-1", "core", LinkState())
            commands.append(time.monotonic() - began)
        say("a link change, until it holds, median of 200", f"{statistics.median(commands) * 1e3:.2f} ms")


def echo(started: Network, count: int) -> list[float]:
    ends = []
    for name in ("edge-1", "core"):
        end = started.site(name).socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.bind((started.address(name), 0))
        ends.append(end)
    here, there = ends
    trips = []
    for _ in range(count):
        began = time.monotonic()
        here.sendto(b"x", there.getsockname())
        there.recv(10)
        there.sendto(b"x", here.getsockname())
        here.recv(10)
        trips.append(time.monotonic() - began)
    return trips


def tcp_bps(started: Network, size: int) -> float:
    server = started.site("core").socket()
    server.bind(("0.0.0.0", 4000))
    server.listen()
    client = started.site("edge-1").connect(4000, started.address("core"))
    connection, _ = server.accept()
    client.setblocking(False)
    data, left, began = bytes(1 << 18), size, time.monotonic()
    while left > 0:
        readable, writable, _ = select.select([connection], [client], [], 5)
        if writable:
            client.send(data)
        if readable:
            left -= len(connection.recv(1 << 18))
    return size * 8 / (time.monotonic() - began)


def asked_against_measured(states: Mapping[str, tuple[LinkState, LinkState]]) -> None:
    say("link", "measure", "asked", "measured", "tolerance", "samples", "ok", "calibrated in")
    say(*["---"] * 8)
    for name, (there, back) in states.items():
        with network(there, back) as started:
            began = time.monotonic()
            rows = started.calibrate()
            took_s = time.monotonic() - began
        for row in rows:
            table_row(name, row, took_s)


def table_row(name: str, row: Calibration, took_s: float) -> None:
    figures = (number(row.measure, value) for value in (row.asked, row.measured, row.tolerance))
    say(name, f"{row.measure} {row.link}", *figures, row.samples, "yes" if row.ok else "NO", f"{took_s:.2f} s")


def presets() -> dict[str, tuple[LinkState, LinkState]]:
    """Both directions of every named link."""
    from profiles.load import preset
    from profiles.load import presets as named

    return {
        name: (LinkState(**up.model_dump()), LinkState(**down.model_dump()))
        for name in named()
        for up, down in [preset(name, "benchmark")]
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--links", action="store_true", help="every preset of profiles/links.yaml too")
    options = arguments.parse_args()
    load, cores = os.getloadavg()[0], os.cpu_count()
    sys.stdout.write(
        f"Python {platform.python_version()}, Linux {platform.release()}, {cores} cores, load {load:.1f}\n\n"
    )
    costs()
    sys.stdout.write("\n")
    asked_against_measured({name: (state, state) for name, state in STATES.items()})
    if options.links:
        asked_against_measured(presets())


if __name__ == "__main__":
    main()

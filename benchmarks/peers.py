"""Other tools beside the router, asked for the same: Toxiproxy at stream level, kernel netem where the host has it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.linkbench import LINK, echo_s, network
from environments.contract import LinkState
from environments.network.toxics import real
from environments.network.toxics.kinds import Bandwidth, Latency
from environments.network.toxics.running import ToxicsServer

Row = tuple[str, str, str, str]
Connect = Callable[[], tuple[socket.socket, socket.socket]]  # (client, server's end) of one TCP connection
DELAY_S, RATE_BPS, SIZE = 0.05, 8e6, 2_000_000


def stream_rows() -> Iterator[Row]:
    """What one TCP connection sees of a delay and of a rate: the router's packets, and both Toxiproxies' streams."""
    for name, through, remark in _throughs():
        if through is None:
            yield f"{name}, one TCP connection", "–", "–", remark
            continue
        with through(DELAY_S, None) as connect:
            trip_s = _ping_s(*connect())
        with through(0.0, RATE_BPS) as connect:
            rate_bps = _transfer_bps(*connect())
        asked_ms = 2 * DELAY_S * 1e3
        yield (
            f"{name}, round trip of a byte",
            f"{asked_ms:g} ms",
            f"{trip_s * 1e3:.2f} ms ({trip_s / 2 / DELAY_S - 1:+.2%})",
            remark,
        )
        measured = f"{rate_bps / 1e6:.3f} Mbit/s ({rate_bps / RATE_BPS - 1:+.2%})"
        yield f"{name}, payload of a transfer of 2 MB", f"{RATE_BPS / 1e6:g} Mbit/s", measured, remark


def _throughs() -> Iterator[tuple[str, Callable[..., contextlib.AbstractContextManager[Connect]] | None, str]]:
    yield "the router", _router, "the rate counts IP packets: 1448 bytes of payload in 1500"
    yield (
        "Toxiproxy, built in",
        _toxics(lambda log: ToxicsServer.builtin("benchmark", 0, log)),
        "the rate counts payload",
    )
    try:
        server = real.found_or_built()
    except real.NoToxiproxy as why:
        yield "Toxiproxy, the real one", None, f"not measured: {why}"
        return
    yield f"Toxiproxy {real.VERSION}", _toxics(lambda log: ToxicsServer.real(server, log)), "the rate counts payload"


@contextmanager
def _router(delay_s: float, rate_bps: float | None) -> Iterator[Connect]:
    with network(LinkState(delay_s=delay_s, rate_bps=rate_bps, queue_s=10)) as started:

        def connect() -> tuple[socket.socket, socket.socket]:
            listener = started.site("core").socket()
            listener.bind((started.address("core"), 4000))
            listener.listen()
            client = started.site("edge-1").connect(4000, started.address("core"))
            return client, listener.accept()[0]

        yield connect


def _toxics(start: Callable[[Path], ToxicsServer]) -> Callable[..., contextlib.AbstractContextManager[Connect]]:
    @contextmanager
    def through(delay_s: float, rate_bps: float | None) -> Iterator[Connect]:
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
            server = start(Path(folder) / "log")
            try:
                proxy = server.client.create("benchmark", f"127.0.0.1:{listener.getsockname()[1]}")
                for stream in ("upstream", "downstream"):
                    toxic = Bandwidth(rate_bps) if rate_bps else Latency(delay_s)
                    server.client.add("benchmark", toxic, stream=stream)

                def connect() -> tuple[socket.socket, socket.socket]:
                    client = socket.create_connection(("127.0.0.1", proxy.port))
                    return client, listener.accept()[0]

                yield connect
            finally:
                server.stop()

    return through


def _ping_s(client: socket.socket, server: socket.socket) -> float:
    trips = []
    with client, server:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(20):
            began = time.perf_counter()
            client.sendall(b"x")
            server.sendall(server.recv(1))
            client.recv(1)
            trips.append(time.perf_counter() - began)
    return statistics.median(trips)


def _transfer_bps(client: socket.socket, server: socket.socket) -> float:
    """From the first byte that arrives to the last."""
    with client, server:
        sending = threading.Thread(target=client.sendall, args=(bytes(SIZE),), daemon=True)
        sending.start()
        first = len(server.recv(65536))
        began, left = time.perf_counter(), SIZE - first
        while left > 0:
            left -= len(server.recv(65536))
        took_s = time.perf_counter() - began
        sending.join()
    return (SIZE - first) * 8 / took_s


def netem_rows() -> Iterator[Row]:
    what, asked = "kernel netem, one-way delay on the interface of one site, no other", f"{DELAY_S * 1e3:g} ms"
    refusal = _netem_refusal()
    if refusal:
        yield what, asked, "–", refusal
        return
    with network(LinkState()) as started:
        site = started.site("edge-1")
        argv = ["tc", "qdisc", "add", "dev", "conform0", "root", "netem", "delay", f"{DELAY_S * 1e3:g}ms"]
        site.wait(site.spawn(argv))
        netem_s = statistics.median(echo_s(started, 50))
    with network(LinkState()) as started:
        started.links.set(*LINK, LinkState(delay_s=DELAY_S), both=False)
        ours_s = statistics.median(echo_s(started, 50))
    yield what, asked, f"{netem_s * 1e3:.2f} ms", f"the router: {ours_s * 1e3:.2f} ms"


def _netem_refusal() -> str:
    """Why netem cannot be had here; empty if it can."""
    if shutil.which("tc") is None:
        return "not measured: no tc (iproute2) on this host"
    with network(LinkState()) as started, tempfile.TemporaryDirectory() as folder:
        log, site = Path(folder) / "log", started.site("edge-1")
        argv = ["tc", "qdisc", "add", "dev", "conform0", "root", "netem", "delay", "1ms"]
        code = site.wait(site.spawn(argv, log_path=log))
        said = log.read_text().strip().splitlines()
    why = said[0] if said else f"tc ended with {code}"
    return "" if code == 0 else f"not measured: this kernel has no netem ({why})"

"""Other tools beside the router, asked for the same: Toxiproxy at stream level, kernel netem where the host has it."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.linkbench import echo_s, network
from environments.contract import LinkState

Row = tuple[str, str, str, str]
DELAY_S, RATE_BPS, SIZE = 0.05, 8e6, 2_000_000


def toxiproxy_rows() -> Iterator[Row]:
    return iter(())


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
        started.links.set("edge-1", "core", LinkState(delay_s=DELAY_S), both=False)
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
    return (
        "" if code == 0 else f"not measured: this kernel has no netem ({said[0] if said else f'tc ended with {code}'})"
    )

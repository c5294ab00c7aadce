"""Calibration: passes on a true router, fails on a false one, and canaries fail on a deaf sentinel."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from environments.contract.deployment import Calibration
from environments.link import Episode, LinkState
from environments.network import Network, SitePlan, calibration
from environments.network.calibration.plan import QUICK, SPOT, Probed
from environments.network.calibration.rows import rows as rows_of
from environments.network.defects import DEFECTS
from environments.network.links import LossChain

Start = Callable[..., Network]
SLOW = LinkState(delay_s=0.05, rate_bps=2e6)
LOSSY = LinkState(delay_s=0.02, loss=0.1, burst=3)


def wrong(rows: list[Calibration]) -> set[str]:
    return {row.measure for row in rows if not row.ok}


@pytest.mark.parametrize(
    "state",
    [
        LinkState(),
        LinkState(delay_s=0.05),
        LinkState(delay_s=0.02, jitter_s=0.01),
        SLOW,
        LOSSY,
        LinkState(delay_s=0.275, jitter_s=0.015, rate_bps=2e6, loss=0.005, burst=4),
        LinkState(delay_s=0.06, jitter_s=0.01, rate_bps=2e6, loss=0.01, burst=3),
        LinkState(delay_s=0.5, rate_bps=16_000, queue_s=2),
        LinkState(delay_s=0.02, rate_bps=50e6),
        LinkState(loss=0.2, burst=20, delay_s=0.1, rate_bps=250_000),
        LinkState(loss=1.0),
    ],
    ids=lambda state: f"{state.delay_s}s-{state.rate_bps}-{state.loss}",
)
def test_a_link_does_what_was_asked(start: Start, state: LinkState) -> None:
    network = start({("edge-1", "core"): state})
    rows = network.calibrate()
    assert rows
    assert not wrong(rows), [row for row in rows if not row.ok]
    assert network.links.counters("edge-1", "core").offered == 0  # a run begins afresh


def test_a_true_link_that_loses_much_by_chance_is_measured_again_with_other_losses(start: Start) -> None:
    seed, state = 67, LinkState(delay_s=0.02, loss=0.01, burst=3)
    chain, first = LossChain(f"{seed}/edge-1>core/loss"), Probed(0, "link", "edge-1", "core", state, QUICK)
    chain.configure(state.loss, state.burst)
    for at_s, kind, sequence, _ in first.plan():
        first.sent[kind, sequence] = at_s
        if not chain.lost():
            first.received[kind, sequence] = at_s + state.delay_s
    assert wrong(rows_of(first)) == {"loss"}  # what this seed loses at first is beyond the tolerance
    rows = start({("edge-1", "core"): state}, seed=seed).calibrate()
    assert not wrong(rows), [row for row in rows if not row.ok]


def test_every_link_is_measured_in_little_time(start: Start) -> None:
    plans = [SitePlan(f"site-{index}", index) for index in range(4)]
    links = {(f"site-{index}", "site-0"): LinkState(delay_s=0.1 * index, rate_bps=2e6) for index in (1, 2, 3)}
    network = start(links, plans)
    began = time.monotonic()
    rows = network.calibrate()
    assert time.monotonic() - began < 1.5
    assert not wrong(rows), [row for row in rows if not row.ok]
    assert {row.link for row in rows if row.measure == "rtt_s"} == set(network.links.names())
    assert {row.link for row in rows if row.measure == "rate_bps"} == {
        f"{a}>{b}" for pair in links for a, b in (pair, pair[::-1])
    }


@pytest.mark.parametrize("reject", [False, True])
def test_of_a_link_that_is_down_nothing_may_arrive(start: Start, reject: bool) -> None:
    rows = start({("edge-1", "core"): LinkState(up=False, reject=reject)}).calibrate()
    assert {(row.link, row.measure, row.asked, row.measured, row.ok) for row in rows} == {
        ("edge-1>core", "loss", 1.0, 1.0, True),
        ("core>edge-1", "loss", 1.0, 1.0, True),
    }


def test_jitter_trace_burst_and_outage_are_measured_where_they_are_asked(start: Start) -> None:
    # must not disturb what is measured, the outage neither, which sets the state of the link again
    flap = Episode(every_s=(2, 2), windows_s=((0.001, 1.9),), change={"up": False})
    table = LinkState(delay_s=0.02, jitter_shape="table", jitter_table_s=(0.0, 0.004, 0.02), episodes=(flap,))
    traced = LinkState(trace="lte-driving-down", loss=0.2, burst=3)
    network = start({("edge-1", "core"): table, ("core", "edge-1"): traced})
    rows = network.calibrate()
    assert not wrong(rows), [row for row in rows if not row.ok]
    measured = {(row.link, row.measure) for row in rows}
    assert {("edge-1>core", "jitter_s"), ("edge-1>core", "outage_s")} <= measured
    assert {("core>edge-1", "trace_s"), ("core>edge-1", "burst"), ("core>edge-1", "loss")} <= measured
    with_interval = [row for row in rows if row.measure in ("jitter_s", "loss", "burst") and row.asked]
    assert len(with_interval) == 3
    assert all((row.low or 0) <= row.measured <= (row.high or 0) for row in with_interval)


def test_what_was_measured_before_is_said_to_be_and_the_delay_is_measured_again(start: Start, tmp_path: Path) -> None:
    links = {("edge-1", "core"): LOSSY}
    first = start(links).calibrate(cache_folder=tmp_path)
    assert not wrong(first)
    assert all(row.cached_at is None for row in first)
    network = start(links)
    again = network.calibrate(cache_folder=tmp_path)
    assert {(row.link, row.measure) for row in again} == {(row.link, row.measure) for row in first}
    assert {row.measure for row in again if row.cached_at is None} == {"delay_s", "rtt_s"}
    assert wrong(again) == set()
    other = start({("edge-1", "core"): LinkState(delay_s=0.02, loss=0.1, burst=4)}).calibrate(cache_folder=tmp_path)
    assert all(row.cached_at is None for row in other)
    bad = start(links, defects=["router_never_drops"]).calibrate(cache_folder=tmp_path)
    assert "loss" in wrong(bad)


ALL_CANARIES = (
    *("tcp4", "tcp6", "udp4", "udp6", "dns4", "dns6", "dns-tcp4", "dns-tcp6", "tls4", "tls6", "dot", "http"),
    *("quic4", "quic6", "ntp", "stun", "syslog", "icmp4", "icmp6", "raw4", "raw6", "mdns", "process"),
)
KILLED_BY_CALIBRATION = {"router_adds_no_delay": {"delay_s", "rtt_s"}, "router_never_drops": {"loss"}}
KILLED_BY_CANARIES = {
    "sentinel_is_deaf": set(ALL_CANARIES),
    "sentinel_ignores_ipv6": {kind for kind in ALL_CANARIES if kind.endswith("6")},
    "sentinel_ignores_dns_over_tcp": {"dns-tcp4", "dns-tcp6"},
    "sentinel_ignores_icmp": {"icmp4", "icmp6"},
    "sentinel_ignores_neighbour_talk": {"mdns"},
    "sentinel_skips_rows_without_a_name": {
        kind for kind in ALL_CANARIES if kind not in ("dns4", "dns6", "mdns", "process")
    },
    "sentinel_never_names_the_process": {"process"},
    "sentinel_reads_no_words": {"tls4", "tls6", "dot", "http", "dns-tcp4", "dns-tcp6"},
    "sentinel_reads_no_quic": {"quic4", "quic6"},
}


def test_two_ways_that_are_off_together_are_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(number: int, directions: Sequence[Probed], *_: object) -> None:
        for each in directions:
            each.sent = {(0, n): float(n) for n in range(5)}
            each.received = {(0, n): n + (0.0015 if number == 0 else 0.0005) for n in range(5)}
            tried.append((number, each.name))

    tried: list[tuple[int, str]] = []
    links = [
        {"link": f"{min(ends)}--{max(ends)}", "a": ends[0], "b": ends[1], "asked": {}, "began_s": 0.0}
        for ends in (("core", "edge"), ("edge", "core"))
    ]
    monkeypatch.setattr(calibration, "measure", measure)
    monkeypatch.setattr(calibration, "open_socket", lambda site: io.BytesIO())
    found = calibration.calibrate({"core": None, "edge": None}, lambda *_: {"links": links}, SPOT)  # type: ignore[dict-item]
    assert not wrong(found) and [row.measured for row in found if row.measure == "rtt_s"] == [pytest.approx(0.001)]
    assert tried == [(0, "core>edge"), (0, "edge>core"), (1, "core>edge"), (1, "edge>core")]


def test_every_defect_has_a_test() -> None:
    assert DEFECTS.keys() == KILLED_BY_CALIBRATION.keys() | KILLED_BY_CANARIES.keys()


@pytest.mark.parametrize("defect", KILLED_BY_CALIBRATION)
def test_calibration_finds(start: Start, defect: str) -> None:
    network = start({("edge-1", "core"): LOSSY}, defects=[defect])
    assert wrong(network.calibrate()) >= KILLED_BY_CALIBRATION[defect]


@pytest.mark.parametrize(
    "state",
    [
        LinkState(delay_s=0.06, jitter_s=0.01, rate_bps=2e6, loss=0.01, burst=3),
        LinkState(delay_s=0.29, jitter_s=0.015, rate_bps=2e6, loss=0.005, burst=4),
    ],
    ids=["dil-degraded", "geo-vsat"],
)
def test_calibration_finds_missing_loss_on_links_that_lose_little(start: Start, state: LinkState) -> None:
    assert "loss" in wrong(start({("edge-1", "core"): state}, defects=["router_never_drops"]).calibrate())


@pytest.mark.parametrize("defect", KILLED_BY_CANARIES)
def test_canaries_find(start: Start, defect: str) -> None:
    seen = start(defects=[defect]).egress.plant("edge-1")
    assert {kind for kind, found in seen.items() if not found} == KILLED_BY_CANARIES[defect]

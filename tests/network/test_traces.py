"""Delivery traces: played as Mahimahi plays them, and a bad line is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.link import LinkState
from environments.link.traces import OPPORTUNITY_BYTES, Sender, Trace, TraceError, load
from environments.network.links import Direction

TIMES = st.lists(st.integers(0, 5000), min_size=1, max_size=60).map(sorted).filter(lambda times: times[-1] > 0)


def trace(*times_ms: int) -> Trace:
    return Trace(times_ms, times_ms[-1])


def test_each_opportunity_carries_1500_bytes_and_the_trace_begins_anew() -> None:
    sender = Sender(trace(10, 20, 50), 100.0)
    leaves = [round(sender.leaves_s(100.0, 1500) - 100.0, 6) for _ in range(5)]
    assert leaves == [0.010, 0.020, 0.050, 0.060, 0.070]


def test_small_packets_share_an_opportunity_and_large_ones_go_on_in_the_next() -> None:
    sender = Sender(trace(10, 20, 30, 40), 0.0)
    leaves = [round(sender.leaves_s(0.0, size), 6) for size in (500, 500, 600, 1400, 3000)]
    assert leaves == [0.010, 0.010, 0.020, 0.020, 0.040]


def test_an_opportunity_that_finds_nothing_is_lost() -> None:
    sender = Sender(trace(10, 20, 30), 0.0)
    assert [round(sender.leaves_s(at, 1500), 6) for at in (0.025, 0.025, 0.095)] == [0.030, 0.040, 0.100]


@given(TIMES, st.lists(st.tuples(st.floats(0, 0.5), st.integers(20, 9000)), max_size=40))
def test_no_more_leaves_than_the_trace_offers(times: list[int], offers: list[tuple[float, int]]) -> None:
    made = Trace(tuple(times), times[-1])
    sender, now_s, sent = Sender(made, 0.0), 0.0, []
    for gap_s, size in offers:
        now_s += gap_s
        sent.append((now_s, sender.leaves_s(now_s, size), size))
    leaves = [left_s for _, left_s, _ in sent]
    assert leaves == sorted(leaves)
    assert all(left_s >= offered_s - 0.001 for offered_s, left_s, _ in sent)
    opportunities, carried = 0, 0
    for _, left_s, size in sent:
        while made.at_s(opportunities) <= left_s:
            opportunities += 1
        carried += size
        assert carried <= opportunities * OPPORTUNITY_BYTES


def test_a_direction_follows_its_trace_and_drops_what_waits_too_long(tmp_path: Path) -> None:
    path = tmp_path / "two.trace"
    path.write_text("100\n1000\n")
    there = Direction("a--b", "a", "b", LinkState(delay_s=0.5, trace=str(path), queue_s=1.5), 7, 10.0)
    arrivals = [there.offer(10.0, 1500) for _ in range(4)]
    assert [at and round(at - 10, 6) for at in arrivals] == [0.6, 1.5, 1.6, None]
    assert there.counters.dropped["queue"] == 1


def test_the_formats(tmp_path: Path) -> None:
    (tmp_path / "a.trace").write_text("0\n5\n5\n20\n")
    (tmp_path / "b.trace.gz").write_bytes(gzip.compress(b"0\n5\n5\n20\n"))
    (tmp_path / "c.kbps").write_text("24\n0\n12\n")
    plain, zipped, seconds = (load(str(tmp_path / name)) for name in ("a", "b.trace.gz", "c.kbps"))
    assert (plain.count, plain.period_s) == (zipped.count, zipped.period_s) == (4, 0.020)
    assert (seconds.count, seconds.period_s, seconds.mean_bps) == (3, 3.0, 12_000)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("10\nten\n20\n", 2, "whole number"),
        ("10\n\n20\n", 2, "whole number"),
        ("10\n-5\n", 2, "whole number"),
        ("10\n20\n15\n", 3, "go forward"),
        ("0\n", 1, "more than 0 ms"),
        ("", 1, "at least one opportunity"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "bad.trace"
    path.write_text(text)
    with pytest.raises(TraceError, match=said) as caught:
        load(str(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_an_unknown_trace_names_those_there_are() -> None:
    with pytest.raises(TraceError, match="lte-driving-down, lte-driving-up"):
        load("lte-parking")

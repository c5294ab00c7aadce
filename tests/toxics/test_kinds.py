"""Units at the border: exact, or refused with what would be exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.network.toxics.kinds import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    attributes,
    from_attributes,
    made,
)

ms = st.integers(0, 10**7).map(lambda count: count / 1000)
TOXICS: st.SearchStrategy[Toxic] = st.one_of(
    st.builds(Latency, delay_s=ms, jitter_s=ms),
    st.builds(Bandwidth, rate_bps=st.integers(1, 10**7).map(lambda count: count * 8000)),
    st.builds(SlowClose, delay_s=ms),
    st.builds(Timeout, after_s=ms),
    st.builds(ResetPeer, after_s=ms),
    st.builds(
        Slicer,
        average_bytes=st.integers(101, 10**6),
        variation_bytes=st.integers(0, 100),
        delay_s=st.integers(0, 10**7).map(lambda count: count / 1e6),
    ),
    st.builds(LimitData, limit_bytes=st.integers(0, 10**9)),
)


@given(TOXICS)
def test_what_can_be_counted_comes_back_the_same(toxic: Toxic) -> None:
    wire = attributes(toxic)
    assert all(isinstance(count, int) for count in wire.values())
    back = from_attributes(toxic.kind, wire)
    assert attributes(back) == wire
    assert vars(back) == pytest.approx(vars(toxic))


def test_the_wire_counts_milliseconds_microseconds_and_kilobytes() -> None:
    assert attributes(Latency(delay_s=0.25, jitter_s=0.02)) == {"latency": 250, "jitter": 20}
    assert attributes(Bandwidth(rate_bps=2_000_000)) == {"rate": 250}
    assert attributes(Slicer(100, 10, 0.0005)) == {"average_size": 100, "size_variation": 10, "delay": 500}


@pytest.mark.parametrize(
    ("toxic", "says"),
    [
        (Latency(delay_s=0.0002), r"latency: delay_s=0\.0002: Toxiproxy counts whole ms; the nearest it can do is 0$"),
        (Latency(delay_s=-1), "delay_s=-1"),
        (Bandwidth(rate_bps=9600), r"counts whole kB/s; the nearest it can do is 8000$"),
        (Bandwidth(rate_bps=0), "nearest it can do is 8000"),
        (Slicer(average_bytes=10, delay_s=1e-7), "whole µs"),
        (LimitData(limit_bytes=1.5), "whole bytes"),  # type: ignore[arg-type]
        (Timeout(after_s="soon"), "must be a number, not 'soon'"),  # type: ignore[arg-type]
        (Timeout(after_s=float("nan")), "must be a number"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_the_nearest(toxic: Toxic, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        attributes(toxic)


def test_a_toxic_by_name_names_what_is_known() -> None:
    assert made("timeout", after_s=0) == Timeout(0)
    with pytest.raises(ValueError, match="no toxic 'fog'; toxics: latency, bandwidth"):
        made("fog")
    with pytest.raises(ValueError, match="latency has delay_s, jitter_s, not latency"):
        made("latency", latency=5)
    with pytest.raises(ValueError, match="variation_bytes must be less"):
        made("slicer", average_bytes=5, variation_bytes=5)

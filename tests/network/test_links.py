"""The model of a link: loss, delay, rate, queue, cuts; and that it repeats itself."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.contract.deployment import LinkState
from environments.network.links import Direction, LossChain, State, gilbert_elliott, problem_with

LOSSES = st.floats(0.001, 0.6)
BURSTS = st.floats(1, 20)
SIZE = 1000


def chain(loss: float, burst: float, seed: str = "seed") -> LossChain:
    made = LossChain(seed)
    made.configure(loss, burst)
    return made


def direction(**state: float | bool | None) -> Direction:
    return Direction("a--b", "a", "b", State().changed(state), 7)


def test_the_state_is_the_contracts() -> None:
    assert State.__dataclass_fields__.keys() == LinkState.__dataclass_fields__.keys()
    assert vars(State()) == vars(LinkState())


@given(LOSSES, BURSTS)
def test_chances_are_chances_and_give_the_loss_in_the_long_run(loss: float, burst: float) -> None:
    p, r = gilbert_elliott(loss, burst)
    assert 0 <= p <= 1
    assert 0 < r <= 1
    assert p / (p + r) == pytest.approx(loss)
    assert 1 / r == pytest.approx(max(burst, 1 / (1 - loss)))


@given(LOSSES, BURSTS, st.integers(0, 1000))
def test_measured_loss_is_the_loss_asked(loss: float, burst: float, seed: int) -> None:
    """Within five standard errors, widened for the bursts: one false alarm in two million."""
    packets, made = 20_000, chain(loss, burst, str(seed))
    lost = sum(made.lost() for _ in range(packets))
    together = max(0.0, 1 - made.p - made.r)
    error = math.sqrt(loss * (1 - loss) / packets * (1 + together) / (1 - together))
    assert abs(lost / packets - loss) < 5 * error + 0.002


@pytest.mark.parametrize("burst", [1.0, 3.0, 10.0])
def test_losses_come_in_runs_of_the_mean_length_asked(burst: float) -> None:
    made = chain(0.05, burst)
    runs = [len(list(run)) for lost, run in itertools.groupby(made.lost() for _ in range(200_000)) if lost]
    assert sum(runs) / len(runs) == pytest.approx(max(burst, 1 / 0.95), rel=0.05)


@given(LOSSES, BURSTS, st.text(max_size=8))
def test_the_same_seed_drops_the_same_packets(loss: float, burst: float, seed: str) -> None:
    one, two = chain(loss, burst, seed), chain(loss, burst, seed)
    assert [one.lost() for _ in range(500)] == [two.lost() for _ in range(500)]


def test_other_seeds_and_directions_drop_others() -> None:
    drops = {
        tuple(Direction("a--b", *ends, State(loss=0.5), seed).offer(0, 1) is None for _ in range(1))
        + tuple(d.offer(0, 1) is None for d in [Direction("a--b", *ends, State(loss=0.5), seed)] for _ in range(64))
        for ends in (("a", "b"), ("b", "a"))
        for seed in (1, 2)
    }
    assert len(drops) == 4


def test_a_reset_direction_repeats_itself() -> None:
    there = direction(loss=0.3, burst=2.0, jitter_s=0.01, delay_s=0.1)
    first = [there.offer(n / 10, SIZE) for n in range(200)]
    there.reset()
    assert [there.offer(n / 10, SIZE) for n in range(200)] == first


def test_no_loss_and_total_loss() -> None:
    assert all(direction().offer(n, SIZE) == n for n in range(100))
    assert all(direction(loss=1.0).offer(n, SIZE) is None for n in range(100))


def test_the_rate_spaces_packets_and_the_queue_drops_the_tail() -> None:
    there = direction(rate_bps=8000.0, queue_s=3.0, delay_s=0.5)  # 1 s a packet
    arrivals = [there.offer(10.0, SIZE) for _ in range(6)]
    assert arrivals == [11.5, 12.5, 13.5, 14.5, None, None]
    assert there.counters.dropped == {"loss": 0, "queue": 2, "down": 0}
    assert there.offer(14.0, SIZE) == 15.5  # the line is free again


@given(st.floats(0.01, 1), st.floats(0, 0.5), st.lists(st.floats(0, 0.1), max_size=50))
def test_packets_never_overtake(delay: float, jitter: float, gaps: list[float]) -> None:
    there = direction(delay_s=delay, jitter_s=jitter)
    arrivals = [there.offer(at, SIZE) for at in itertools.accumulate(gaps)]
    assert arrivals == sorted(a for a in arrivals if a is not None)


def test_going_down_loses_what_is_on_its_way() -> None:
    there = direction(delay_s=1.0)
    before = there.epoch
    there.set(there.state.changed({"up": False}))
    assert there.epoch != before
    assert there.offer(0, SIZE) is None
    assert there.counters.dropped["down"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("loss", 1.5), ("delay_s", -1), ("burst", 0), ("rate_bps", 0), ("up", 1), ("delay_s", True), ("latency", 3)],
)
def test_a_value_out_of_range_is_named(field: str, value: object) -> None:
    problem = problem_with({field: value})
    assert problem
    assert field in problem[1]
    with pytest.raises(ValueError, match=field):
        State().changed({field: value})

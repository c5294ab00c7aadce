"""The model of a link: loss, delay, rate, queue, cuts; and that it repeats itself."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from dataclasses import asdict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from environments.link import Episode, LinkState, StateError, changed, gilbert_elliott, problem_with
from environments.network.episodes import Weather, spans
from environments.network.links import CAUSES, Direction, LossChain

LOSSES = st.floats(0.001, 0.6)
BURSTS = st.floats(1, 20)
SIZE = 1000


def chain(loss: float, burst: float, seed: str = "seed") -> LossChain:
    made = LossChain(seed)
    made.configure(loss, burst)
    return made


def direction(**state: float | bool | None) -> Direction:
    return Direction("a--b", "a", "b", LinkState(**state), 7)


@given(LOSSES, BURSTS)
def test_chances_are_chances_and_give_the_loss_in_the_long_run(loss: float, burst: float) -> None:
    assume(burst >= loss / (1 - loss))
    p, r = gilbert_elliott(loss, burst)
    assert 0 <= p <= 1
    assert 0 < r <= 1
    assert p / (p + r) == pytest.approx(loss)
    assert 1 / r == pytest.approx(burst)
    p, r = gilbert_elliott(loss, None)  # independent: as likely after a loss as after none
    assert p == pytest.approx(1 - r) == pytest.approx(loss)


@given(LOSSES, BURSTS, st.integers(0, 1000))
def test_measured_loss_is_the_loss_asked(loss: float, burst: float, seed: int) -> None:
    """Within five standard errors, widened for the bursts: one false alarm in two million."""
    assume(burst >= loss / (1 - loss))
    packets, made = 20_000, chain(loss, burst, str(seed))
    lost = sum(made.lost() for _ in range(packets))
    together = max(0.0, 1 - made.p - made.r)
    error = math.sqrt(loss * (1 - loss) / packets * (1 + together) / (1 - together))
    assert abs(lost / packets - loss) < 5 * error + 0.002


@pytest.mark.parametrize("burst", [1.0, 3.0, 10.0])
def test_losses_come_in_runs_of_the_mean_length_asked(burst: float) -> None:
    made = chain(0.05, burst)
    runs = [len(list(run)) for lost, run in itertools.groupby(made.lost() for _ in range(200_000)) if lost]
    assert sum(runs) / len(runs) == pytest.approx(burst, rel=0.05)


@given(LOSSES, BURSTS, st.text(max_size=8))
def test_the_same_seed_drops_the_same_packets(loss: float, burst: float, seed: str) -> None:
    one, two = chain(loss, burst, seed), chain(loss, burst, seed)
    assert [one.lost() for _ in range(500)] == [two.lost() for _ in range(500)]


def test_other_seeds_and_directions_drop_others() -> None:
    drops = {
        tuple(Direction("a--b", *ends, LinkState(loss=0.5), seed).offer(0, 1) is None for _ in range(1))
        + tuple(d.offer(0, 1) is None for d in [Direction("a--b", *ends, LinkState(loss=0.5), seed)] for _ in range(64))
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
    assert there.counters.dropped == {**dict.fromkeys(CAUSES, 0), "queue": 2}
    assert there.offer(14.0, SIZE) == 15.5  # the line is free again


@given(st.floats(0.01, 1), st.floats(0, 0.5), st.lists(st.floats(0, 0.1), max_size=50))
def test_packets_never_overtake(delay: float, jitter: float, gaps: list[float]) -> None:
    there = direction(delay_s=delay, jitter_s=jitter)
    arrivals = [there.offer(at, SIZE) for at in itertools.accumulate(gaps)]
    assert arrivals == sorted(a for a in arrivals if a is not None)


def test_going_down_loses_what_is_on_its_way() -> None:
    there = direction(delay_s=1.0)
    before = there.epoch
    there.set(changed(there.state, {"up": False}))
    assert there.epoch != before
    assert there.offer(0, SIZE) is None
    assert there.counters.dropped["down"] == 1


def test_the_queue_is_bounded_in_bytes_too() -> None:
    there = direction(rate_bps=8000.0, queue_s=60.0, queue_bytes=2 * SIZE)
    arrivals = [there.offer(10.0, SIZE) for _ in range(4)]
    assert arrivals == [11.0, 12.0, None, None]
    counted = there.counted(10.5)
    assert (counted.queue_s, counted.queue_bytes) == (1.5, 2 * SIZE)
    assert there.offer(11.5, SIZE) == 13.0  # one has left


@given(st.integers(0, 100), st.floats(0.001, 0.1))
def test_normal_jitter_is_spread_as_asked(seed: int, jitter: float) -> None:
    there = Direction("a--b", "a", "b", LinkState(delay_s=1, jitter_s=jitter, jitter_shape="normal"), seed)
    drawn = [there.travel_s() for _ in range(2000)]
    assert statistics.mean(drawn) == pytest.approx(1, abs=jitter / 8)
    assert statistics.stdev(drawn) == pytest.approx(jitter, rel=0.12)


def test_jitter_from_a_table_follows_its_quantiles() -> None:
    there = direction(delay_s=1.0, jitter_shape="table", jitter_table_s=(0.0, 0.1, 0.5))
    drawn = sorted(there.travel_s() for _ in range(4000))
    assert drawn[0] >= 1.0
    assert drawn[-1] <= 1.5
    assert drawn[2000] == pytest.approx(1.1, abs=0.01)
    assert drawn[3000] == pytest.approx(1.3, abs=0.03)


def test_some_packets_overtake_and_only_where_that_was_asked() -> None:
    there = direction(delay_s=1.0, reorder=0.25)
    arrivals = [there.offer(n / 10, SIZE) for n in range(400)]
    early = sum(arrival == n / 10 for n, arrival in enumerate(arrivals))
    assert 60 < early < 140
    assert there.counters.reordered == early


def test_copies_and_turned_bits_are_as_many_as_asked_and_the_same_again() -> None:
    def run() -> tuple[list[bool], list[bytes]]:
        there = direction(duplicate=0.1, corrupt=0.2)
        return [there.duplicated() for _ in range(1000)], [there.mangled(bytes(60), 20) for _ in range(1000)]

    copies, packets = run()
    assert 60 < sum(copies) < 140
    changed_ones = [packet for packet in packets if packet != bytes(60)]
    assert 140 < len(changed_ones) < 260
    assert all(sum(each.bit_count() for each in packet) == 1 and packet[:20] == bytes(20) for packet in changed_ones)
    assert run() == (copies, packets)


FLAP = Episode(every_s=(6, 6), windows_s=((3, 3),), change={"up": False}, name="flap")


def test_episodes_come_and_go_by_time() -> None:
    there = direction(delay_s=0.1, episodes=(FLAP,))
    up = []
    for tick in range(24):
        there.advance(tick / 2)
        up.append(there.now.up)
    assert up == [True] * 6 + [False] * 6 + [True] * 6 + [False] * 6
    assert there.state.up
    assert there.next_change_s() == 12 + 3 or there.advance(12.0)


def test_both_directions_have_the_same_weather_and_seeds_differ() -> None:
    blockage = Episode(every_s=(10, 30), for_s=(1, 5), change={"up": False})
    one, two, other = (
        [next(each) for each in [spans(blockage, seed)] for _ in range(20)] for seed in ("1/a--b", "1/a--b", "2/a--b")
    )
    assert one == two != other
    ends = 0.0
    for at_s, long_s in one:
        assert at_s >= ends + 5  # 10 apart at least, 5 long at most
        assert 1 <= long_s <= 5
        ends = at_s + long_s


def test_where_two_episodes_change_one_thing_the_later_wins() -> None:
    slow = Episode(every_s=(10, 10), windows_s=((1, 8),), change={"delay_s": 1.0, "loss": 0.5}, name="slow")
    worse = Episode(every_s=(10, 10), windows_s=((2, 2),), change={"delay_s": 2.0}, name="worse")
    weather = Weather((slow, worse), "seed", 100.0)
    assert weather.advance(100.5) == []
    assert weather.advance(102.5) == ["slow begins", "worse begins"]
    assert weather.changes() == {"delay_s": 2.0, "loss": 0.5}
    assert weather.advance(105) == ["worse ends"]
    assert weather.changes() == {"delay_s": 1.0, "loss": 0.5}
    assert weather.next_s == 109


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"loss": 1.5}, "loss"),
        ({"delay_s": -1}, "delay_s"),
        ({"delay_s": True}, "delay_s"),
        ({"delay_s": math.nan}, "delay_s"),
        ({"burst": 0}, "burst"),
        ({"rate_bps": 0}, "rate_bps"),
        ({"up": 1}, "up"),
        ({"latency": 3}, "latency"),
        ({"loss": 0.9, "burst": 2}, "burst"),  # 9 of 10 lost in runs of 2 would need less than a packet between them
        ({"rate_bps": 9600.0, "queue_s": 1.0}, "queue_s"),  # one packet takes 1.25 s
        ({"mtu_bytes": 10}, "mtu_bytes"),
        ({"mtu_bytes": 1400.5}, "mtu_bytes"),
        ({"reorder": 0.1}, "reorder"),
        ({"jitter_shape": "pareto"}, "jitter_shape"),
        ({"jitter_shape": "table"}, "jitter_table_s"),
        ({"jitter_table_s": (0.0, 0.1)}, "jitter_shape"),
        ({"trace": "lte-driving-up", "rate_bps": 1e6}, "rate_bps"),
        ({"episodes": [{"every_s": (1, 1), "for_s": (2, 2), "change": {"up": False}}]}, "episodes"),
        ({"episodes": [{"every_s": (5, 5), "change": {"up": False}}]}, "episodes"),
        ({"episodes": [{"every_s": (5, 5), "for_s": (1, 1), "change": {"colour": 1}}]}, "episodes"),
        ({"episodes": [{"every_s": (5, 5), "for_s": (1, 1), "change": {"loss": 2}}]}, "episodes"),
        ({"episodes": [{"every_s": (5, 5), "windows_s": [(1, 2), (2, 1)], "change": {"up": False}}]}, "episodes"),
    ],
)
def test_a_state_that_cannot_be_is_named(fields: dict[str, object], at_fault: str) -> None:
    problem = problem_with(fields, asdict(LinkState()))
    assert problem
    assert problem[0] == at_fault
    with pytest.raises(StateError, match=None if at_fault == "episodes" else at_fault):
        changed(LinkState(), fields)


@given(st.floats(0, 0.5), st.sampled_from([None, 1.0, 4.0]), st.booleans())
def test_a_state_survives_its_document(loss: float, burst: float | None, up: bool) -> None:
    state = LinkState(up=up, loss=loss, burst=burst, episodes=(FLAP,), jitter_shape="table", jitter_table_s=(0.0, 1.0))
    assert LinkState(**json.loads(json.dumps(state.document()))) == state

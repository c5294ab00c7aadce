"""From packets sent and received to rows: asked, measured, tolerance, confidence. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from environments.contract.deployment import Calibration
from environments.link import gilbert_elliott
from environments.network.calibration.plan import LOSS, NO_LOSS_CHANCE, PROBE, TRAIN, Probed

DELAY_TOLERANCE, DELAY_FLOOR_S = 0.05, 0.002
RATE_TOLERANCE, RATE_FLOOR_S = 0.05, 0.001
JITTER_FLOOR_S = 0.001
TRACE_TOLERANCE_S = 0.005
Z99 = 2.576
_BURSTS = 20  # fewer tell nothing of their mean length


def rows(probed: Probed) -> list[Calibration]:
    found = (_delay(probed), _jitter(probed), _rate(probed), _trace(probed), _loss(probed), _burst(probed))
    return [row for row in found if row]


def row(
    link: str,
    measure: str,
    asked: float,
    measured: float,
    tolerance: float,
    samples: int,
    *,
    least: int,
    within: float | None = None,
) -> Calibration:
    """ok: within the tolerance, on at least `least` samples. within: half the width of the confidence interval."""
    ok = samples >= least and abs(measured - asked) <= tolerance
    low, high = (None, None) if within is None else (max(0.0, measured - within), measured + within)
    return Calibration(link, measure, asked, measured, tolerance, ok, samples, low, high)


def middle(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _chance_s(probed: Probed, samples: int) -> float:
    """How far the median of so many delays may be off by chance."""
    return Z99 * probed.jitter_deviation_s * 1.25 / math.sqrt(max(1, samples))


def _delay(probed: Probed) -> Calibration | None:
    if probed.silent:
        return None
    delays, asked_s = probed.delays(), probed.asked_delay_s
    chance_s = _chance_s(probed, len(delays))
    tolerance = max(DELAY_TOLERANCE * asked_s, DELAY_FLOOR_S) + chance_s
    spread_s = Z99 * 1.25 * statistics.pstdev(delays) / math.sqrt(len(delays)) if delays else None
    return row(probed.name, "delay_s", asked_s, middle(delays), tolerance, len(delays), least=3, within=spread_s)


def _jitter(probed: Probed) -> Calibration | None:
    """The standard deviation of the delay; none where probes came too close together to show it, or too few."""
    asked_s, delays = probed.jitter_deviation_s, probed.delays()
    spaced = probed.spacing_s >= probed.jitter_reach_s
    if not asked_s or not spaced or not probed.effort.everything or len(delays) < 10 or probed.state.reorder:
        return None
    chance_s = Z99 * asked_s / math.sqrt(2 * (len(delays) - 1))
    tolerance = max(DELAY_TOLERANCE * asked_s, JITTER_FLOOR_S) + chance_s
    measured_s = statistics.stdev(delays)
    within = Z99 * measured_s / math.sqrt(2 * (len(delays) - 1))
    return row(probed.name, "jitter_s", asked_s, measured_s, tolerance, len(delays), least=10, within=within)


def _rate(probed: Probed) -> Calibration | None:
    asked = probed.state.rate_bps
    if not asked or probed.silent or not probed.effort.everything:
        return None
    arrivals = sorted((sequence, at) for (kind, sequence), at in probed.received.items() if kind == TRAIN)
    if len(arrivals) < 3:
        return row(probed.name, "rate_bps", asked, 0.0, RATE_TOLERANCE * asked, len(arrivals), least=3)
    if not probed.state.loss:  # a packet lost on the way has used its time on the wire; one the queue refused has not
        arrivals = [(place, at) for place, (_, at) in enumerate(arrivals)]
    half = len(arrivals) // 2  # the median over pairs half a train apart: a stall of this process moves few of them
    pairs = list(zip(arrivals, arrivals[half:], strict=False))
    took_s = max(1e-9, statistics.median((late[1] - early[1]) / (late[0] - early[0]) for early, late in pairs))
    span_s = took_s * (pairs[0][1][0] - pairs[0][0][0])
    tolerance = max(RATE_TOLERANCE, (RATE_FLOOR_S + probed.jitter_reach_s / 2) / span_s) * asked
    return row(probed.name, "rate_bps", asked, probed.train_size * 8 / took_s, tolerance, len(arrivals), least=3)


def _trace(probed: Probed) -> Calibration | None:
    """How far from the opportunities of its trace packets arrive, in the middle."""
    if not probed.leaves or not probed.effort.everything:
        return None
    due_s = probed.state.delay_s + probed.jitter_mean_s
    off = [
        abs(at - probed.leaves[key] - due_s)
        for key, at in probed.received.items()
        if key in probed.leaves and key[0] == TRAIN
    ]
    tolerance = TRACE_TOLERANCE_S + probed.jitter_reach_s / 2
    return row(probed.name, "trace_s", 0.0, middle(off), tolerance, len(off), least=3)


def _fates(probed: Probed) -> list[bool]:
    """Whether each packet in order was lost, of those sent to find that out."""
    kind = LOSS if probed.state.loss and probed.effort.everything and not probed.silent else PROBE
    return [key not in probed.received for key in sorted(probed.sent) if key[0] == kind]


def _loss(probed: Probed) -> Calibration | None:
    loss = 1.0 if probed.silent else probed.state.loss
    if not probed.effort.everything and 0 < loss < 1:
        return None
    fates = _fates(probed)
    sent, lost = len(fates), sum(fates)
    p, r = gilbert_elliott(loss, probed.state.burst)
    together = max(0.0, 1 - p - r)  # correlation of one packet's fate with the next one's
    inflated = (1 + together) / max(1e-9, 1 - together)
    tolerance, within = 0.0, None
    if 0 < loss < 1 and sent:
        tolerance = Z99 * math.sqrt(loss * (1 - loss) * inflated / sent) + 1 / sent
        within = Z99 * math.sqrt(max(1, lost) * (sent - lost) * inflated / sent) / sent
        if not lost and (1 - p) ** sent < 2 * NO_LOSS_CHANCE:  # bursts are rare events: the tolerance may span zero
            tolerance = min(tolerance, loss / 2)
    return row(probed.name, "loss", loss, lost / max(1, sent), tolerance, sent, least=5, within=within)


def _burst(probed: Probed) -> Calibration | None:
    """Mean length of a run of losses; none where there were too few runs to tell."""
    loss = probed.state.loss
    if not 0 < loss < 1 or not probed.effort.everything:
        return None
    runs = [len(list(run)) for lost, run in itertools.groupby(_fates(probed)) if lost]
    if len(runs) < _BURSTS:
        return None
    asked = 1 / gilbert_elliott(loss, probed.state.burst)[1]
    chance = Z99 * math.sqrt(max(0.0, asked * (asked - 1)) / len(runs))  # lengths are geometric
    measured = statistics.fmean(runs)
    within = Z99 * math.sqrt(max(0.0, measured * (measured - 1)) / len(runs))
    tolerance = 0.05 * asked + chance
    return row(probed.name, "burst", asked, measured, tolerance, len(runs), least=_BURSTS, within=within)


def round_trips(directions: Sequence[Probed]) -> list[Calibration]:
    by_ends = {(d.source, d.target): d for d in directions}
    found = []
    for there in directions:
        back = by_ends.get((there.target, there.source))
        if back is None or there.number > back.number or there.silent or back.silent:
            continue
        asked_s = there.asked_delay_s + back.asked_delay_s
        ways = (there.delays(), back.delays())
        samples = min(len(way) for way in ways)
        chance_s = _chance_s(there, samples) + _chance_s(back, samples)
        tolerance = max(DELAY_TOLERANCE * asked_s, DELAY_FLOOR_S) + chance_s
        measured_s = middle(ways[0]) + middle(ways[1])
        found.append(row(there.link, "rtt_s", asked_s, measured_s, tolerance, samples, least=3))
    return found

"""A cut of known length, played by the router and measured by what does not arrive: proof of its sense of time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from environments.contract.deployment import Calibration
from environments.network.calibration.measure import Arrivals, mark_of, packet, receive
from environments.network.calibration.plan import HEADERS, PROBE, SMALL, Probed
from environments.network.calibration.rows import row

TOLERANCE_S = 0.1  # META-03
LASTS_S, BEFORE_S, SPACING_S = 0.3, 0.1, 0.005
_ROUND = 99


def outages(
    directions: Sequence[Probed], sockets: Mapping[str, socket.socket], ask: Callable[..., Mapping[str, Any]]
) -> list[Calibration]:
    """Row `outage_s` of each direction. What was on its way at the cut is lost: arrivals pause for it and the delay."""
    if not directions:
        return []
    by_number = {d.number: d for d in directions}
    into: dict[int, Arrivals] = {number: {} for number in by_number}
    spacing = {d.number: max(SPACING_S, 1.5 * d.wire_s(SMALL + HEADERS)) for d in directions}
    delay_s = max(d.asked_delay_s + d.jitter_reach_s for d in directions)
    cut_s = delay_s + BEFORE_S + 4 * max(spacing.values())
    lasts_s = max(LASTS_S, 4 * max(spacing.values()))
    ask("play", name="calibration", events=_cut(directions, cut_s, lasts_s))
    began_s, mark, sequence = time.monotonic(), mark_of(_ROUND), 0
    ends_s = began_s + cut_s + lasts_s + delay_s + BEFORE_S + 4 * max(spacing.values())
    due = dict.fromkeys(by_number, began_s)
    while time.monotonic() < ends_s:
        for number, at_s in due.items():
            if at_s <= time.monotonic():
                d, sequence = by_number[number], sequence + 1
                sockets[d.source].sendto(packet(mark, number, PROBE, sequence), sockets[d.target].getsockname())
                due[number] += spacing[number]
        receive(sockets, into, mark, min(min(due.values()), ends_s))
    return [_row(d, sorted(into[d.number].values()), lasts_s, spacing[d.number]) for d in directions]


def _cut(directions: Sequence[Probed], at_s: float, lasts_s: float) -> list[dict[str, Any]]:
    ends = [{"a": d.source, "b": d.target, "both": False} for d in directions]
    down = [{**each, "at_s": at_s, "state": {"up": False}} for each in ends]
    return down + [{**each, "at_s": at_s + lasts_s, "state": {"up": True}} for each in ends]


def _row(probed: Probed, arrivals: list[float], lasts_s: float, spacing_s: float) -> Calibration:
    """The longest pause of the arrivals, less the delay that follows it; half a spacing is unknown at either end."""
    pauses = [late - early for early, late in pairwise(arrivals)]
    measured_s = max(pauses, default=0.0) - probed.asked_delay_s - spacing_s / 2
    tolerance_s = TOLERANCE_S + spacing_s + probed.jitter_reach_s / 2
    return row(probed.name, "outage_s", lasts_s, measured_s, tolerance_s, len(arrivals), least=4)

"""Calibration: what was asked of each link against what it does, measured by UDP between the sites themselves.

Both ends are sockets of this process, opened in the two namespaces, so one clock stamps both: the one-way delay of each
direction is measured by itself, and a round trip is the sum of two. Arrival is stamped by the kernel. All directions
are measured at once: spaced probes (delay, jitter), then a train (rate, or the opportunities of a trace), then small
packets (loss and the length of its runs), then a cut of known length where the link has episodes (outage).
A direction that is off, by itself or with the way back, is measured again, twice at most: a busy machine is off now
and then, as is a true link whose losses come in bursts (one in eighty), a wrong link each time. Its random sequences go
on meanwhile: begun afresh they would lose the same packets once more.

What was measured well on this host within a day is not measured again: such rows say when, and the delay is measured
anew all the same. The cache knows the host, the code and the states; it is not used where a defect is switched on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from environments.contract.deployment import Calibration
from environments.link import LinkState
from environments.network.calibration.cache import Cache
from environments.network.calibration.measure import measure, open_socket
from environments.network.calibration.outage import outages
from environments.network.calibration.plan import FULL, QUICK, SPOT, Effort, Probed
from environments.network.calibration.rows import round_trips, rows
from environments.network.site import Site

__all__ = ["FULL", "QUICK", "SPOT", "Effort", "calibrate"]

Ask = Callable[..., Mapping[str, Any]]
_PAUSES_S = (0.0, 0.3)  # before measuring again


def calibrate(
    sites: Mapping[str, Site], ask: Ask, effort: Effort = QUICK, cache_folder: Path | None = None
) -> list[Calibration]:
    """Rows of every direction of every link, `rtt_s` of every link. ask: commands to the router (see control.py).

    Counters and random sequences begin afresh before and after. cache_folder: None measures everything.
    """
    links = ask("show")["links"]
    cache = Cache(cache_folder, effort)
    known = cache.rows(links)
    directions = [
        Probed(
            number,
            link["link"],
            link["a"],
            link["b"],
            LinkState(**link["asked"]),
            SPOT if link["link"] in known else effort,
        )
        for number, link in enumerate(links)
    ]
    sockets = {name: open_socket(sites[name]) for name in {end for d in directions for end in (d.source, d.target)}}
    ask("calm")
    try:
        _measure(0, directions, sockets, ask)
        for number, pause_s in enumerate(_PAUSES_S, start=1):
            if todo := _off(directions):
                time.sleep(pause_s)
                _measure(number, todo, sockets, ask)
        cuts = outages([d for d in directions if d.wants_outage], sockets, ask)
    finally:
        for each in sockets.values():
            each.close()
        ask("reset")
    fresh = [result for direction in directions for result in rows(direction)] + cuts
    cache.keep(links, [row for row in fresh if row.cached_at is None])
    return _merged(fresh, known) + round_trips(directions)


def _measure(number: int, todo: Sequence[Probed], sockets: Mapping[str, socket.socket], ask: Ask) -> None:
    began_s = {(link["a"], link["b"]): link["began_s"] for link in ask("show")["links"]}
    measure(number, todo, sockets, began_s)


def _off(directions: Sequence[Probed]) -> list[Probed]:
    trips = {trip.link for trip in round_trips(directions) if not trip.ok}
    return [d for d in directions if d.link in trips or not all(each.ok for each in rows(d))]


def _merged(fresh: Sequence[Calibration], known: Mapping[str, Sequence[Calibration]]) -> list[Calibration]:
    """Fresh rows, and the known ones of what was not measured anew."""
    measured = {(row.link, row.measure) for row in fresh}
    earlier = [row for link in known.values() for row in link if (row.link, row.measure) not in measured]
    return sorted([*fresh, *earlier], key=lambda row: row.link)

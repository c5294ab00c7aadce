"""Calibration of links that are streams: what was asked of each direction against what it does.

Measured with an end of our own at each link: one more proxy, which gets the toxics of its link as every other does,
between two sockets of this process. So one clock stamps both ends, and each direction is measured by itself. What the
machine itself costs at the moment is measured too, probe by probe, through a proxy without toxics: twice that is
granted, since it comes on top of any delay.
Rows: `delay_s` and `rate_bps` per direction (`a>b`), `rtt_s` per link (`a--b`). Loss is not asked of a stream.
A link that is off is measured again, twice at most: a busy machine is off now and then, a wrong link each time.
"""

from __future__ import annotations

import contextlib
import math
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from environments.contract import Calibration, LinkState
from environments.network.toxics.links import StreamLinks

Z99 = 2.576
PROBES, SMALL = 12, 16  # probes of so many bytes, one after another
DELAY_TOLERANCE, DELAY_FLOOR_S = 0.05, 0.005  # two passes through a process in Python, on a machine that is busy
RATE_TOLERANCE, RATE_FLOOR_S = 0.05, 0.02
TRAIN_S = 0.6  # how long the rate is held up; Toxiproxy passes the data of 0.1 s at a time
ROUNDS = 3
ANSWER_S = 30.0


class _Pair:
    """Both ends of a connection through a link's proxy: `near` at site a, `far` at site b."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        for end in (near, far):
            end.settimeout(ANSWER_S)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextlib.contextmanager
def _connected(listener: socket.socket, port: int) -> Iterator[_Pair]:
    with socket.create_connection(("127.0.0.1", port), ANSWER_S) as near:
        far, _ = listener.accept()
        with far:
            yield _Pair(near, far)


def calibrate(links: StreamLinks) -> list[Calibration]:
    """Measure every link that is up in both directions, all at once."""
    up = [(name, *name.split("--")) for name in links.names()]
    up = [each for each in up if links.get(each[1], each[2]).up and links.get(each[2], each[1]).up]
    if not up:
        return []
    with ThreadPoolExecutor(len(up)) as pool:
        return [row for rows in pool.map(lambda link: _link(links, *link), up) for row in rows]


def _link(links: StreamLinks, name: str, a: str, b: str) -> list[Calibration]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(ANSWER_S)
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        with links.temporary_way(a, b, "calibration", here) as port, links.bare_way(here) as bare_port:
            rows: list[Calibration] = []
            for _ in range(ROUNDS):
                with _connected(listener, port) as pair, _connected(listener, bare_port) as bare:
                    rows = _measured(name, a, b, links.get(a, b), links.get(b, a), pair, bare)
                if all(each.ok for each in rows):
                    break
            return rows


def _measured(
    name: str, a: str, b: str, there: LinkState, back: LinkState, pair: _Pair, bare: _Pair
) -> list[Calibration]:
    ways, rows = [], []
    for label, state, sender, receiver in (
        (f"{a}>{b}", there, pair.near, pair.far),
        (f"{b}>{a}", back, pair.far, pair.near),
    ):
        both = [(_one_way(sender, receiver), _one_way(bare.near, bare.far)) for _ in range(PROBES)]
        delays = [delay_s for delay_s, _ in both]
        asked_s, tolerance = _asked(state)
        tolerance += 2 * statistics.median([bare_s for _, bare_s in both])
        ways.append((asked_s, tolerance, statistics.median(delays)))
        rows.append(_row(label, "delay_s", asked_s, statistics.median(delays), tolerance, len(delays)))
        if state.rate_bps:
            rows.append(_rate(label, state, sender, receiver))
    asked_s, tolerance, measured_s = (sum(each) for each in zip(*ways, strict=True))
    rows.append(_row(name, "rtt_s", asked_s, measured_s, tolerance, PROBES))
    return rows


def _asked(state: LinkState) -> tuple[float, float]:
    """(seconds, tolerance) of a probe: the delay and its own time at the rate."""
    asked_s = state.delay_s + (SMALL * 8 / state.rate_bps if state.rate_bps else 0.0)
    chance_s = Z99 * state.jitter_s / math.sqrt(3) / math.sqrt(PROBES)
    return asked_s, max(DELAY_TOLERANCE * asked_s, DELAY_FLOOR_S) + chance_s


def _one_way(sender: socket.socket, receiver: socket.socket) -> float:
    sent_s = time.monotonic()
    sender.sendall(bytes(SMALL))
    _receive(receiver, SMALL)
    return time.monotonic() - sent_s


def _receive(receiver: socket.socket, count: int) -> None:
    while count > 0:
        data = receiver.recv(min(count, 65536))
        if not data:
            raise ConnectionError("the connection that measures a link ended")
        count -= len(data)


def _rate(label: str, state: LinkState, sender: socket.socket, receiver: socket.socket) -> Calibration:
    """Bytes after the first piece, over the time since it, which begins when the first piece has had its own time."""
    rate_bps = state.rate_bps or 0.0
    total = max(64, int(rate_bps / 8 * TRAIN_S))
    sending = threading.Thread(target=sender.sendall, args=(bytes(total),))
    sending.start()
    first = len(receiver.recv(65536))
    began_s = time.monotonic()
    _receive(receiver, total - first)
    took_s = max(1e-9, time.monotonic() - began_s)
    sending.join()
    measured_bps = (total - first) * 8 / took_s
    asked_s = total * 8 / rate_bps  # not what it took: a train that was not slowed at all must not widen its own bound
    tolerance = max(RATE_TOLERANCE, (RATE_FLOOR_S + state.jitter_s) / asked_s) * rate_bps
    return _row(label, "rate_bps", rate_bps, measured_bps, tolerance, total)


def _row(link: str, measure: str, asked: float, measured: float, tolerance: float, samples: int) -> Calibration:
    return Calibration(link, measure, asked, measured, tolerance, abs(measured - asked) <= tolerance, samples)

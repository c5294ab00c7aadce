"""Send and receive: one socket per site serves all of its directions."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence

from environments.link import traces
from environments.network.calibration.plan import HEADERS, SMALL, Probed
from environments.network.site import Site

_MARK = struct.Struct("!IHBI")  # calibration, direction, kind, sequence
assert _MARK.size == SMALL
_GRACE_S = 0.05
Arrivals = dict[tuple[int, int], float]  # (kind, sequence) -> seconds since the epoch
_SO_TIMESTAMPNS = 35
_BUFFER = 8 << 20


def open_socket(site: Site) -> socket.socket:
    try:
        made = site.socket(socket.AF_INET, socket.SOCK_DGRAM, buffer_bytes=_BUFFER)
    except PermissionError:  # an ordinary user has the system's default
        made = site.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    made.bind((site.address, 0))
    return made


def mark_of(number: int) -> int:
    return (int.from_bytes(b"cal", "big") << 8) + number


def packet(mark: int, direction: int, kind: int, sequence: int, size: int = SMALL) -> bytes:
    return _MARK.pack(mark, direction, kind, sequence).ljust(size, b"\0")


def measure(
    number: int,
    directions: Sequence[Probed],
    sockets: Mapping[str, socket.socket],
    began_s: Mapping[tuple[str, str], float],
) -> None:
    """Carry out every direction's plan. began_s: when the state of each was set, seconds of the monotonic clock."""
    mark, by_number = mark_of(number), {d.number: d for d in directions}
    into = {d.number: d.received for d in directions}
    for direction in directions:
        direction.sent.clear()
        direction.received.clear()
        direction.leaves.clear()
    senders = {
        d.number: traces.Sender(traces.load(d.state.trace), began_s[d.source, d.target])
        for d in directions
        if d.state.trace
    }
    epoch_s = time.time() - time.monotonic()
    plan = sorted((at, d.number, kind, sequence, size) for d in directions for at, kind, sequence, size in d.plan())
    start_s, since_read = time.monotonic(), 0
    for at_s, which, kind, sequence, size in plan:
        receive(sockets, into, mark, start_s + at_s)
        direction = by_number[which]
        direction.sent[kind, sequence] = time.time()
        if which in senders:
            leaves_s = senders[which].leaves_s(time.monotonic(), size + HEADERS)
            direction.leaves[kind, sequence] = epoch_s + leaves_s
        payload = packet(mark, which, kind, sequence, size)
        sockets[direction.source].sendto(payload, sockets[direction.target].getsockname())
        since_read += 1
        if since_read >= 64:
            since_read = 0  # the receivers' buffers must not fill while there is much to send
            receive(sockets, into, mark, 0.0, at_least_once=True)
    ends_s = max(d.last_arrival_s for d in directions) + _GRACE_S
    while time.time() < ends_s and any(len(d.received) < len(d.sent) for d in directions):
        receive(sockets, into, mark, time.monotonic() + min(0.01, max(0.0, ends_s - time.time())))


def receive(
    sockets: Mapping[str, socket.socket],
    into: Mapping[int, Arrivals],
    mark: int,
    until_s: float,
    *,
    at_least_once: bool = False,
) -> None:
    """Take what arrives, by the number of its direction, until a time of the monotonic clock."""
    while at_least_once or time.monotonic() < until_s:
        wait_s = max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select(list(sockets.values()), [], [], wait_s)
        for each in ready:
            _drain(each, into, mark)
        if at_least_once:
            return


def _drain(source: socket.socket, into: Mapping[int, Arrivals], mark: int) -> None:
    while True:
        try:
            data, extra, _, _ = source.recvmsg(2048, 64)
        except BlockingIOError:
            return
        if len(data) < _MARK.size:
            continue
        seen, which, kind, sequence = _MARK.unpack_from(data)
        if seen == mark and which in into:
            seconds, nanoseconds = struct.unpack_from("@ll", extra[0][2])
            into[which][kind, sequence] = seconds + nanoseconds / 1e9

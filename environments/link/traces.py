"""Delivery traces in Mahimahi's format: a line per opportunity to send 1500 bytes, in ms from the start, repeated.

A file that ends in .kbps is shorter: a line per second, its capacity in kbit/s, spread evenly over the second.

As mm-link plays them: an opportunity that finds nothing to send is lost, a small packet leaves room for the next one,
a packet that does not fit goes on in the next opportunity, and after the last line the trace begins anew.
"""

from __future__ import annotations

import gzip
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path

OPPORTUNITY_BYTES = 1500
FOLDER = Path(__file__).resolve().parents[2] / "profiles" / "traces"
SUFFIXES = ("", ".trace", ".trace.gz", ".kbps")


class TraceError(ValueError):
    """A trace that cannot be played; the message names file, line and what was expected."""


class Trace:
    """times_ms: the opportunities, in order. period_ms: when it begins anew; Mahimahi's is the last line."""

    def __init__(self, times_ms: tuple[int, ...], period_ms: int) -> None:
        self._times_ms, self._period_ms = times_ms, period_ms
        self.count, self.period_s = len(times_ms), period_ms / 1000

    @property
    def mean_bps(self) -> float:
        return self.count * OPPORTUNITY_BYTES * 8 / self.period_s

    def at_s(self, number: int) -> float:
        """When opportunity `number` comes, counted through all repetitions, seconds from the start."""
        rounds, place = divmod(number, self.count)
        return (rounds * self._period_ms + self._times_ms[place]) / 1000

    def first_from(self, at_s: float) -> int:
        """Number of the first opportunity at `at_s` or later."""
        rounds, within_s = divmod(max(0.0, at_s), self.period_s)
        place = bisect_left(self._times_ms, round(within_s * 1000, 6))
        return int(rounds) * self.count + place


class Sender:
    """Packets on the opportunities of a trace, one after another."""

    def __init__(self, trace: Trace, began_s: float) -> None:
        self._trace, self._began_s = trace, began_s
        self._at, self._left = 0, OPPORTUNITY_BYTES  # the opportunity in use, and the bytes still free in it

    def copy(self) -> Sender:
        made = Sender(self._trace, self._began_s)
        made._at, made._left = self._at, self._left
        return made

    def leaves_s(self, now_s: float, size: int) -> float:
        """When a packet of size bytes, offered now, has left; times as of began_s. Packets leave in order."""
        first = self._trace.first_from(now_s - self._began_s)
        if first > self._at:
            self._at, self._left = first, OPPORTUNITY_BYTES
        elif not self._left:
            self._at, self._left = self._at + 1, OPPORTUNITY_BYTES
        beyond = max(0, size - self._left)
        more = -(-beyond // OPPORTUNITY_BYTES)
        self._at += more
        self._left += more * OPPORTUNITY_BYTES - size
        return self._began_s + self._trace.at_s(self._at)


def find(name: str) -> Path:
    """The file of a trace: a path, or a name in profiles/traces. TraceError if there is none."""
    folder = Path() if "/" in name else FOLDER
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    known = sorted(path.stem for path in FOLDER.glob("*.kbps"))
    raise TraceError(f"trace: there is no trace {name!r}; give a path, or one of {', '.join(known) or 'none'}")


@lru_cache(maxsize=32)
def load(name: str) -> Trace:
    """Read a trace. TraceError names file and line."""
    path = find(name)
    raw = path.read_bytes()
    numbers = _numbers(path, gzip.decompress(raw) if path.suffix == ".gz" else raw)
    if path.suffix == ".kbps":
        times, period_ms = _spread(numbers), 1000 * len(numbers)
    else:
        times, period_ms = numbers, numbers[-1] if numbers else 0
        back = next((place for place in range(1, len(times)) if times[place] < times[place - 1]), None)
        if back is not None:
            raise TraceError(f"{path}:{back + 1}: {times[back]} ms comes after {times[back - 1]} ms; times go forward")
    if not times or not period_ms:
        raise TraceError(f"{path}:1: a trace must have at least one opportunity, and last more than 0 ms")
    return Trace(tuple(times), period_ms)


def _numbers(path: Path, text: bytes) -> list[int]:
    found = []
    for number, line in enumerate(text.split(b"\n"), 1):
        word = line.strip()
        if not word and number > text.count(b"\n"):
            break  # the end of the last line
        if not word.isdigit():
            said = word[:40].decode("latin-1")
            raise TraceError(f"{path}:{number}: must be a whole number, not {said!r}")
        found.append(int(word))
    return found


def _spread(kbps: list[int]) -> list[int]:
    """Opportunities of 1500 bytes, evenly within each second; what is left of one goes to the next."""
    times, owed_bits = [], 0.0
    for second, each in enumerate(kbps):
        for millisecond in range(1000):
            owed_bits += each
            while owed_bits >= 8 * OPPORTUNITY_BYTES:
                owed_bits -= 8 * OPPORTUNITY_BYTES
                times.append(second * 1000 + millisecond)
    return times

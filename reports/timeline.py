"""Geometry of the link timeline: lanes, bars and ticks as plain numbers, which the HTML template draws as SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reports.model import Profile, Run
from reports.records import TimelineRecord, VerdictRecord
from reports.verdicts import Verdict

WIDTH, LABEL, RIGHT = 1120.0, 190.0, 16.0  # px: the drawing, the lane labels, the right margin
LANE, AXIS, TRACK = 34.0, 26.0, 14.0  # px: lane height, axis height, height of a row of checks
TRACKS = 6  # rows of check spans at most; more overlap in the last one
EPOCH = 1e9  # a t_s beyond this is seconds since the epoch, below it seconds since the start of the run


@dataclass(frozen=True)
class Box:
    """A rectangle: a state of a link direction, or the span of a check."""

    x: float
    y: float
    width: float
    kind: str  # up, degraded, down; or a verdict
    text: str
    title: str


@dataclass(frozen=True)
class Mark:
    x: float
    text: str
    title: str


@dataclass
class Lane:
    label: str
    detail: str
    y: float
    boxes: list[Box] = field(default_factory=list)


@dataclass
class Drawing:
    """Everything the template needs to draw one deployment's timeline."""

    name: str
    width: float
    height: float
    left: float
    right: float
    axis_y: float
    lanes: list[Lane]
    spans: list[Box]
    spans_y: float
    ticks: list[Mark]
    events: list[Mark]
    summary: str


def drawings(profile: Profile, run: Run, checks: Iterable[VerdictRecord]) -> list[Drawing]:
    """One drawing per deployment whose links changed or were reported; none for a profile without links."""
    zero = seconds(run.started_at)
    by_deployment: dict[str, list[TimelineRecord]] = defaultdict(list)
    for record in profile.timeline:
        by_deployment[record.deployment].append(record)
    spans = list(checks)
    found = []
    for name, records in sorted(by_deployment.items()):
        own = [check for check in spans if check.deployment in ("", name)]
        events = [(relative(e.t_s, zero), e.what) for e in profile.events if e.deployment in ("", name) and e.t_s]
        found.append(_drawing(name, records, own, events, zero))
    return found


def seconds(when: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 if it is none."""
    try:
        return datetime.fromisoformat(when).timestamp()
    except ValueError:
        return 0.0


def relative(t_s: float, zero: float) -> float:
    """Seconds since the start of the run."""
    return t_s - zero if t_s > EPOCH else t_s


def describe(state: Mapping[str, Any]) -> str:
    """A link state in words: `300 ms ±40, 2 % loss, 512 kbit/s`."""
    if not state.get("up", True):
        return "down, refused" if state.get("reject") else "down"
    parts = []
    if state.get("half_open"):
        parts.append("half open")
    if delay := state.get("delay_s"):
        jitter = f" ±{_number(state['jitter_s'] * 1e3)}" if state.get("jitter_s") else ""
        parts.append(f"{_number(delay * 1e3)} ms{jitter}")
    if loss := state.get("loss"):
        parts.append(f"{_number(loss * 100)} % loss")
    if rate := state.get("rate_bps"):
        parts.append(bits(rate))
    if trace := state.get("trace"):
        parts.append(f"trace {trace}")
    parts += [
        f"{_number(state[name] * 100)} % {name}" for name in ("duplicate", "reorder", "corrupt") if state.get(name)
    ]
    if mtu := state.get("mtu_bytes"):
        parts.append(f"MTU {mtu}")
    return ", ".join(parts) or "unimpaired"


def bits(rate_bps: float) -> str:
    for limit, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if rate_bps >= limit:
            return f"{_number(rate_bps / limit)} {unit}"
    return f"{_number(rate_bps)} bit/s"


_WORSE_IF_MORE = ("delay_s", "loss", "jitter_s", "half_open", "duplicate", "reorder", "corrupt")


def classify(state: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """`down`, `degraded` (worse in some measure than the profile asks) or `up`."""
    if not state.get("up", True):
        return "down"
    worse = any((state.get(name) or 0.0) > (base.get(name) or 0.0) for name in _WORSE_IF_MORE)
    less = any((state.get(name) or math.inf) < (base.get(name) or math.inf) for name in ("rate_bps", "mtu_bytes"))
    return "degraded" if worse or less else "up"


def _drawing(
    name: str, records: list[TimelineRecord], checks: list[VerdictRecord], events: list[tuple[float, str]], zero: float
) -> Drawing:
    starts = {id(check): relative(seconds(check.started_at), zero) for check in checks if check.started_at}
    times = [relative(record.t_s, zero) for record in records] + [t for t, _ in events]
    times += [starts[id(check)] + check.duration_s for check in checks if id(check) in starts] + list(starts.values())
    first, last = min(times), max(times)
    last = max(last + (last - first) * 0.02, first + 1.0)
    scale = (WIDTH - LABEL - RIGHT) / (last - first)

    def x(t: float) -> float:
        return round(LABEL + (t - first) * scale, 2)

    lanes = _lanes(records, zero, last, x)
    bottom = 10 + LANE * len(lanes)
    spans, tracks = _spans([check for check in checks if id(check) in starts], starts, bottom + 8, x)
    axis = bottom + (8 + TRACK * tracks if tracks else 0) + 6
    outages = sum(box.kind == "down" for lane in lanes for box in lane.boxes)
    degraded = sum(box.kind == "degraded" for lane in lanes for box in lane.boxes)
    return Drawing(
        name=name,
        width=WIDTH,
        height=axis + AXIS,
        left=LABEL,
        right=WIDTH - RIGHT,
        axis_y=axis,
        lanes=lanes,
        spans=spans,
        spans_y=bottom + 8,
        ticks=[Mark(x(t), f"{_number(t)} s", "") for t in _ticks(first, last)],
        events=[Mark(x(t), what, f"t = {t:.2f} s: {what}") for t, what in sorted(events)],
        summary=f"link directions: {len(lanes)}, outages: {outages}, degraded phases: {degraded}, checks: {len(spans)}",
    )


def _lanes(records: list[TimelineRecord], zero: float, last: float, x: Any) -> list[Lane]:
    by_lane: dict[str, list[TimelineRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.t_s):
        changes = by_lane[_label(record)]
        if not changes or changes[-1].state != record.state:  # a heal after every check changes nothing most times
            changes.append(record)
    lanes = []
    for number, (label, changes) in enumerate(sorted(by_lane.items())):
        base = changes[0].state
        lane = Lane(label, describe(base), 10 + number * LANE)
        ends = [relative(change.t_s, zero) for change in changes[1:]] + [last]
        for change, end in zip(changes, ends, strict=True):
            begin = relative(change.t_s, zero)
            what, kind = describe(change.state), classify(change.state, base)
            width = max(x(end) - x(begin), 1.0)
            text = what if kind != "up" and width > 7 * len(what) else ""
            title = f"{label}, {begin:.2f} to {end:.2f} s: {what}" + (f" ({change.reason})" if change.reason else "")
            lane.boxes.append(Box(x(begin), lane.y, round(width, 2), kind, text, title))
        lanes.append(lane)
    return lanes


def _label(record: TimelineRecord) -> str:
    direction = record.direction.replace("->", ">")
    return direction.replace(">", " → ") if ">" in direction else f"{record.link} {direction}".strip()


def _spans(checks: list[VerdictRecord], starts: Mapping[int, float], top: float, x: Any) -> tuple[list[Box], int]:
    """Check spans, each in the first row that is free at its start."""
    free: list[float] = []
    boxes = []
    for check in sorted(checks, key=lambda check: starts[id(check)]):
        begin = starts[id(check)]
        row = next((row for row, until in enumerate(free) if until <= begin), min(len(free), TRACKS - 1))
        free[row : row + 1] = [begin + check.duration_s]
        left, width = x(begin), max(x(begin + check.duration_s) - x(begin), 2.0)
        text = check.requirement if width > 46 else ""
        title = f"{check.requirement} {check.verdict}, {begin:.2f} s, took {check.duration_s:.2f} s"
        boxes.append(Box(left, top + row * TRACK, round(width, 2), Verdict(check.verdict).value, text, title))
    return boxes, len(free)


def _ticks(first: float, last: float) -> list[float]:
    """Round times, six to twelve of them."""
    raw = (last - first) / 8
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [round(n * step, 6) for n in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"

"""The shortest schedule that still fails: delta debugging over events, then over times and severities.

Pure: what "fails" means is a function that the caller gives. It may be slow and flaky; it is asked once per candidate.
ddmin is Zeller's and Hildebrandt's, over units (a cut and its heal go together), so that what is left is 1-minimal: it
fails, and without any one of its units it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from environments.schedules.model import PRECISION, Event, Schedule
from environments.schedules.rules import pairs, possible

T = TypeVar("T")
Fails = Callable[[Schedule], bool]
SHORTEST_S = 0.05  # times are not halved below this: no protocol here tells shorter ones apart
FINEST = 0.02  # nor severities below this part of what they were
PASSES = 3  # events, times, severities: again while the pass before changed something


class Enough(Exception):
    """Raised by the caller's function to end the search: the best so far is the result."""


def ddmin(units: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A 1-minimal sublist that fails. `fails(units)` must be true, and `fails` is never asked about the empty list
    (ask that first: a check that fails without any unit says nothing about them)."""
    left = list(units)
    parts = 2
    while len(left) >= 2:
        chunks = _split(left, parts)
        chosen = next((chunk for chunk in chunks if len(chunk) < len(left) and fails(chunk)), None)
        if chosen is not None:
            left, parts = chosen, 2
            continue
        rests = [[unit for other in chunks if other is not chunk for unit in other] for chunk in chunks]
        chosen = next((rest for rest in rests if rest and parts > 2 and fails(rest)), None)
        if chosen is not None:
            left, parts = chosen, max(parts - 1, 2)
            continue
        if parts >= len(left):
            break
        parts = min(2 * parts, len(left))
    return left


def _split(units: list[T], parts: int) -> list[list[T]]:
    size, more = divmod(len(units), parts)
    chunks, at = [], 0
    for index in range(parts):
        end = at + size + (index < more)
        if end > at:
            chunks.append(units[at:end])
        at = end
    return chunks


@dataclass(frozen=True)
class Shrunk:
    schedule: Schedule
    complete: bool  # False: it was ended before nothing shorter failed


def shrink(schedule: Schedule, fails: Fails, told: Callable[[Schedule], None] = lambda _: None) -> Shrunk:
    """The shortest schedule found. `fails(schedule)` must be true. told: called with each shorter one that fails."""
    best = [schedule]
    known: dict[str, bool] = {}

    def still_fails(candidate: Schedule) -> bool:
        key = repr([event.document() for event in candidate.events])
        if key not in known:
            known[key] = fails(candidate)
        if known[key]:
            best[0] = candidate
            told(candidate)
        return known[key]

    try:
        for _ in range(PASSES):
            before = best[0]
            _fewer(best[0], still_fails)
            _shorter(best[0], still_fails)
            _milder(best[0], still_fails)
            if best[0].events == before.events:
                break
    except (Enough, KeyboardInterrupt):
        return Shrunk(best[0], complete=False)
    return Shrunk(best[0], complete=True)


def _fewer(schedule: Schedule, fails: Fails) -> None:
    def build(units: Sequence[tuple[Event, ...]]) -> Schedule:
        return schedule.with_events(possible(event for unit in units for event in unit))

    ddmin(pairs(schedule.events), lambda units: fails(build(units)))


def _shorter(schedule: Schedule, fails: Fails) -> None:
    """Halve each outage, then each wait before something happens, as often as it still fails."""
    for index in range(len(pairs(schedule.events))):
        schedule = _halved(schedule, fails, lambda s, i=index: _outage_halved(s, i))  # type: ignore[misc]
    for index in range(len(schedule.events)):
        schedule = _halved(schedule, fails, lambda s, i=index: _wait_halved(s, i))  # type: ignore[misc]


def _halved(schedule: Schedule, fails: Fails, step: Callable[[Schedule], Schedule | None]) -> Schedule:
    while (candidate := step(schedule)) is not None and fails(candidate):
        schedule = candidate
    return schedule


def _outage_halved(schedule: Schedule, index: int) -> Schedule | None:
    """The mend of a unit at half the time after its break; None if it is short enough, or none."""
    unit = pairs(schedule.events)[index]
    if len(unit) < 2:
        return None
    first, last = unit[0], unit[-1]
    length_s = last.at_s - first.at_s
    if length_s <= SHORTEST_S:
        return None
    moved = replace(last, at_s=round(first.at_s + length_s / 2, PRECISION))
    return _with(schedule, [moved if event is last else event for event in schedule.events])


def _wait_halved(schedule: Schedule, index: int) -> Schedule | None:
    """Half the time between an event and the one before it, unless that is an outage: all that follow come sooner."""
    event = schedule.events[index]
    before_s = schedule.events[index - 1].at_s if index else 0.0
    wait_s = event.at_s - before_s
    outage = any(unit[-1] is event and len(unit) > 1 for unit in pairs(schedule.events))
    if outage or wait_s <= SHORTEST_S:
        return None
    shifted = [
        replace(each, at_s=round(each.at_s - wait_s / 2, PRECISION)) if number >= index else each
        for number, each in enumerate(schedule.events)
    ]
    return _with(schedule, shifted)


def _with(schedule: Schedule, events: Sequence[Event]) -> Schedule | None:
    """The schedule with these events; None if they can no longer happen in this order."""
    candidate = schedule.with_events(events)
    return candidate if possible(candidate.events) == candidate.events else None


def _milder(schedule: Schedule, fails: Fails) -> None:
    """Each measure of each state, offset and toxic: left out, or else halved as often as it still fails."""
    for index, event in enumerate(schedule.events):
        for name in _measures(event):
            without = _changed(schedule, index, _without(event, name))
            if without is not None and fails(without):
                schedule = without
                event = schedule.events[index]
                continue
            for value in _halvings(_value(event, name), rises=name.endswith("_bps")):
                candidate = _changed(schedule, index, _set(event, name, value))
                if candidate is None or not fails(candidate):
                    break
                schedule, event = candidate, candidate.events[index]


def _changed(schedule: Schedule, index: int, event: Event | None) -> Schedule | None:
    if event is None:
        return None
    return _with(schedule, [event if number == index else each for number, each in enumerate(schedule.events)])


def _measures(event: Event) -> list[str]:
    """Names of what can be milder: fields of a mapping, or "" for the value itself."""
    if isinstance(event.value, Mapping):
        return [name for name in event.value if name != "type"]
    return [""] if event.action in ("step_s", "slow_s") else []


def _value(event: Event, name: str) -> Any:
    return event.value[name] if name else event.value


def _set(event: Event, name: str, value: Any) -> Event:
    return replace(event, value={**event.value, name: value} if name else value)


def _without(event: Event, name: str) -> Event | None:
    if not name or len(event.value) < 2:
        return None
    return replace(event, value={key: value for key, value in event.value.items() if key != name})


def _halvings(value: Any, rises: bool) -> Iterator[float]:
    """Milder and milder: toward nothing; a rate toward a hundred times itself."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    now = value
    while abs(now) > abs(value) * FINEST and abs(now) < abs(value) / FINEST:
        now = type(value)(now * 2 if rises else now / 2)
        yield now if isinstance(now, int) else round(now, 6)

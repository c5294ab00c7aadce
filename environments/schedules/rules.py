"""What can happen after what: a schedule that asks for the impossible is refused before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from environments.link import problem_with
from environments.schedules.model import MENDS, Event, Schedule, ScheduleError, Targets, directions, in_order, lanes

RUNNING, DOWN, PAUSED = "running", "down", "paused"
# action -> (conditions of the process that it needs, the one it leaves)
_PROCESS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "kill": ((RUNNING, PAUSED), DOWN),
    "stop": ((RUNNING, PAUSED), DOWN),
    "pause": ((RUNNING,), PAUSED),
    "resume": ((PAUSED,), RUNNING),
    "start": ((DOWN,), RUNNING),
    "restart": ((RUNNING,), RUNNING),
}
_ONCE = frozenset({"cut", "full", "read_only"})  # doing it again changes nothing


class Conditions:
    """How things stand while a schedule is gone through: what is broken, and since when."""

    def __init__(self, states: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._states = states or {}
        self._links: dict[str, dict[str, Any]] = {}  # direction -> its state, while it is not the healed one
        self._others: dict[str, tuple[str, Event]] = {}  # lane -> (condition, the event that made it so)
        self._last: dict[str, Event] = {}  # lane -> the event that changed it last

    def refuses(self, event: Event) -> tuple[str, str] | None:
        """(key, why the event cannot happen now); None if it can."""
        for lane in lanes(event):
            last = self._last.get(lane)
            if last is not None and last.at_s == event.at_s:
                if event.mends and not last.mends:
                    return event.action, f"an outage of length 0: {last} is at {event.at_s:g} s too"
                return "at_s", f"two events at {event.at_s:g} s for {lane}: {last} and {event}"
        if event.kind == "link":
            return self._refuses_link(event)
        return self._refuses_other(event)

    def _refuses_link(self, event: Event) -> tuple[str, str] | None:
        touched = [self._links.get(lane) for lane in lanes(event)]
        if event.action == "cut" and all(state is not None and not state["up"] for state in touched):
            return "cut", f"{event.target} is cut already"
        if event.action == "heal" and not any(state is not None for state in touched):
            return "heal", f"{event.target} is not broken"
        if event.action == "state":
            for lane in lanes(event):
                problem = problem_with(event.value, self._state(lane) if lane in self._states else None)
                if problem:
                    return f"state.{problem[0]}", problem[1]
        return None

    def _refuses_other(self, event: Event) -> tuple[str, str] | None:
        [lane] = lanes(event)
        condition = self._others[lane][0] if lane in self._others else RUNNING
        if event.kind == "process":
            needed, _ = _PROCESS[event.action]
            if condition not in needed:
                return event.action, f"{event.target} is {condition}, not {' or '.join(needed)}"
        elif event.mends and condition == RUNNING:
            return event.action, f"the {event.kind} of {event.target} is not broken"
        elif event.action in _ONCE and condition == event.action:
            return event.action, f"{event.target} is {event.action} already"
        return None

    def _state(self, lane: str) -> dict[str, Any]:
        return dict(self._links.get(lane) or {"up": True, **self._states.get(lane, {})})

    def apply(self, event: Event) -> None:
        for lane in lanes(event):
            self._last[lane] = event
            if event.kind == "link":
                if event.action == "heal":
                    self._links.pop(lane, None)
                else:
                    change = {"up": False} if event.action == "cut" else event.value
                    self._links[lane] = {**self._state(lane), **change}
                continue
            condition = _PROCESS[event.action][1] if event.kind == "process" else event.action
            if event.mends or condition == RUNNING:
                self._others.pop(lane, None)
            else:
                self._others[lane] = (condition, event)

    def mends(self, at_s: float = 0.0) -> list[Event]:
        """What would mend everything that is broken now, links by direction."""
        links = [Event(at_s, "link", lane, "heal") for lane in self._links]
        return links + [Event(at_s, e.kind, e.target, mend_of(e.kind, how)) for how, e in self._others.values()]


def mend_of(kind: str, condition: str) -> str:
    if kind == "process":
        return "resume" if condition == PAUSED else "start"
    return "release" if kind == "clock" else "heal"


def healed_links(events: Iterable[Event], at_s: float, where: str) -> list[Event]:
    """What `heal` without a link stands for: a heal of each direction that is broken by then, both at once if both."""
    found = Conditions()
    for event in in_order(events):
        if event.kind == "link" and event.at_s < at_s:
            found.apply(event)
    broken = [event.target for event in found.mends() if event.kind == "link"]
    made: list[Event] = []
    for direction in broken:
        [(a, b)] = directions(direction)
        if f"{b}>{a}" not in broken:
            made.append(Event(at_s, "link", direction, "heal", where=where))
        elif broken.index(direction) < broken.index(f"{b}>{a}"):
            made.append(Event(at_s, "link", f"{a}--{b}", "heal", where=where))
    return made


def check(schedule: Schedule, targets: Targets | None) -> None:
    """Raises ScheduleError for the first event that has no target, cannot happen when it is due, or is too late."""
    conditions = Conditions(targets.states if targets else None)
    for event in schedule.events:
        refusal = targets.refuses(event) if targets else None
        if refusal is not None:
            raise ScheduleError(event.where, event.kind, refusal)
        if event.at_s > schedule.duration_s:
            raise ScheduleError(
                event.where, "at_s", f"{event.at_s:g} s is past the schedule's duration_s, {schedule.duration_s:g} s"
            )
        impossible = conditions.refuses(event)
        if impossible is not None:
            raise ScheduleError(event.where, *impossible)
        conditions.apply(event)


def possible(events: Iterable[Event], states: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Event, ...]:
    """The events without those that cannot happen: after a cut was left out, its heal has nothing to heal."""
    conditions, kept = Conditions(states), []
    for event in in_order(events):
        if conditions.refuses(event) is None:
            conditions.apply(event)
            kept.append(event)
    return tuple(kept)


def pairs(events: Iterable[Event]) -> list[tuple[Event, ...]]:
    """Units that stay together when some are left out: what breaks something with what mends it, others alone."""
    units: list[list[Event]] = []
    open_: dict[str, list[Event]] = {}  # lane -> the unit that its next mend belongs to
    for event in in_order(events):
        owners = [open_.pop(lane) for lane in lanes(event) if lane in open_] if event.action in MENDS else []
        if owners:
            owners[0].append(event)
            for lane in [lane for lane, unit in open_.items() if any(unit is owner for owner in owners)]:
                del open_[lane]
            continue
        unit = [event]
        units.append(unit)
        if not event.mends and event.action != "restart":
            open_ |= dict.fromkeys(lanes(event), unit)
    return [tuple(unit) for unit in units]

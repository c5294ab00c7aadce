"""What a schedule is: events at times, each with one target and one action. Data: no clock, no deployment.

An event as JSON or YAML, `KIND: TARGET` and `ACTION: VALUE` (docs/schedules.md lists all):

    {at_s: 5, link: edge-1--saas, cut: true}             {at_s: 9, process: edge-1/edge, kill: true}
    {at_s: 12, clock: edge-1, step_s: 3600}              {at_s: 15, disk: edge-1, full: true}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("link", "process", "clock", "disk", "dependency")
# kind -> action -> what its value is: `true`, or the type that the reader checks
ACTIONS: Mapping[str, Mapping[str, str]] = {
    "link": {"state": "state", "cut": "true", "heal": "true"},
    "process": dict.fromkeys(("kill", "stop", "pause", "resume", "start", "restart"), "true"),
    "clock": {"freeze": "time", "step_s": "number", "rate": "factor", "release": "true"},
    "disk": {"full": "true", "read_only": "true", "slow_s": "positive", "heal": "true"},
    "dependency": {"toxic": "toxic", "cut": "true", "heal": "true"},
}
MENDS = frozenset({"heal", "resume", "start", "release"})  # the actions that end what another one began
PRECISION = 3  # digits of a second: what is finer than 1 ms is below what any host keeps


class ScheduleError(ValueError):
    """A schedule that cannot be played: names file, line and key. `str()` is the one line for the user."""

    def __init__(self, where: str, key: str, message: str) -> None:
        self.where, self.key = where, key
        super().__init__(f"{where}: {key}: {message}" if where else f"{key}: {message}")


@dataclass(frozen=True)
class Event:
    """One action on one target. link targets: `a--b` both ways, `a>b` one; processes and dependencies: `node/name`;
    clocks and disks: the node. `value`: true, a number, or a mapping (JSON)."""

    at_s: float  # from the start of the schedule
    kind: str
    target: str
    action: str
    value: Any = True
    where: str = field(default="", compare=False)  # file:line, for whoever refuses it

    @property
    def mends(self) -> bool:
        return self.action in MENDS

    def document(self) -> dict[str, Any]:
        return {"at_s": self.at_s, self.kind: self.target, self.action: self.value}

    def __str__(self) -> str:
        value = "" if self.value is True else f" {self.value}"
        return f"{self.action} {self.target}{value}"


@dataclass(frozen=True)
class Schedule:
    """A flat list of events in order of time, which replays exactly."""

    name: str
    events: tuple[Event, ...]
    duration_s: float
    grown_from: Mapping[str, Any] = field(default_factory=dict)  # generator, seed, parameters; empty if written by hand

    def document(self) -> dict[str, Any]:
        origin = {"grown_from": dict(self.grown_from)} if self.grown_from else {}
        events = [event.document() for event in self.events]
        return {"name": self.name, "duration_s": self.duration_s, **origin, "events": events}

    def kinds(self) -> frozenset[str]:
        return frozenset(event.kind for event in self.events)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def with_events(self, events: Iterable[Event], duration_s: float | None = None) -> Schedule:
        chosen = in_order(events)
        last_s = chosen[-1].at_s if chosen else 0.0
        return Schedule(self.name, chosen, last_s if duration_s is None else duration_s, self.grown_from)

    @property
    def size(self) -> str:
        return f"{len(self.events)} event{'' if len(self.events) == 1 else 's'} / {self.duration_s:g} s"


@dataclass(frozen=True)
class Targets:
    """What a deployment has that a schedule can act on. `missing`: kind -> why none of it is possible here."""

    links: tuple[str, ...] = ()  # a--b
    processes: tuple[str, ...] = ()  # node/service
    clocks: tuple[str, ...] = ()  # nodes
    disks: tuple[str, ...] = ()  # nodes
    dependencies: tuple[str, ...] = ()  # node/name
    missing: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # direction a>b -> its state when healed

    def names(self, kind: str) -> tuple[str, ...]:
        return {
            "link": self.links,
            "process": self.processes,
            "clock": self.clocks,
            "disk": self.disks,
            "dependency": self.dependencies,
        }[kind]

    def refuses(self, event: Event) -> str | None:
        """Why the event has no target here; None if it has."""
        if event.kind in self.missing:
            return f"{event.kind} faults are not possible here: {self.missing[event.kind]}"
        known = self.names(event.kind)
        wanted = [f"{a}--{b}" for a, b in directions(event.target)] if event.kind == "link" else [event.target]
        if event.kind == "link":
            wanted += [f"{b}--{a}" for a, b in directions(event.target)]
        if not any(name in known for name in wanted):
            plural = "processes" if event.kind == "process" else f"{event.kind}s".replace("ys", "ies")
            return f"no {event.kind} {event.target!r}; {plural}: {', '.join(known) or 'none'}"
        return None


def directions(link: str) -> list[tuple[str, str]]:
    """The directions that a link target names: both of `a--b`, one of `a>b`."""
    if ">" in link:
        a, _, b = link.partition(">")
        return [(a, b)]
    a, _, b = link.partition("--")
    return [(a, b), (b, a)]


def lanes(event: Event) -> list[str]:
    """The things an event acts on, each of which is in one condition at a time."""
    if event.kind == "link":
        return [f"{a}>{b}" for a, b in directions(event.target)]
    return [f"{event.kind} {event.target}"]


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """By time; what happens at one time keeps its order."""
    return tuple(sorted(events, key=lambda event: event.at_s))


def line_of(path: Path | str, line: int) -> str:
    return f"{path}:{line}"

"""The faults that a storm draws from: each a break and its mend, or one event that mends itself."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from environments.schedules.model import KINDS, Event, ScheduleError, Targets

BUMP_S = 262.0  # how far a clock jumps, as in Jepsen's clock nemesis
DRIFT = 200e-6  # a poor oscillator: 200 ppm
SLOW_S = 0.2


def chosen(given: Mapping[str, Any], targets: Targets) -> list[tuple[str, str]]:
    """(kind, target) of all that the storm may act on. ScheduleError if that is nothing."""
    own = {"link": "links", "process": "processes", "clock": "nodes", "disk": "nodes", "dependency": "dependencies"}
    kinds = given["kinds"] or [kind for kind in KINDS if kind not in targets.missing]
    for kind in kinds:
        if kind not in KINDS:
            raise ScheduleError("", "kinds", f"no kind {kind!r}; known: {', '.join(KINDS)}")
    named = {kind: given[own[kind]] for kind in kinds}
    found = [(kind, name) for kind in kinds for name in (targets.names(kind) if named[kind] is None else named[kind])]
    if not found:
        raise ScheduleError("", "kinds", f"nothing to act on: no target of {', '.join(kinds)} is named or here")
    return found


def fault(kind: str, target: str, at_s: float, until_s: float, rng: Random) -> list[Event]:
    if kind == "link":
        return _link(target, at_s, until_s, rng)
    if kind == "process":
        return _process(target, at_s, until_s, rng)
    action, value = rng.choice(_CHOICES[kind])
    if kind == "clock" and action == "step_s":
        value = round(rng.uniform(-BUMP_S, BUMP_S), 3)
    mend = "release" if kind == "clock" else "heal"
    return [Event(at_s, kind, target, action, value), Event(until_s, kind, target, mend)]


_CHOICES: Mapping[str, list[tuple[str, Any]]] = {
    "clock": [("step_s", 0.0), ("rate", 1 + DRIFT), ("rate", 60.0)],
    "disk": [("full", True), ("read_only", True), ("slow_s", SLOW_S)],
    "dependency": [("cut", True), ("toxic", {"type": "latency", "latency": 500}), ("toxic", {"type": "reset_peer"})],
}


def _link(link: str, at_s: float, until_s: float, rng: Random) -> list[Event]:
    a, _, b = link.partition("--")
    what = rng.choice(("cut", "cut", "out", "in", "slow", "lossy"))
    target = {"out": f"{a}>{b}", "in": f"{b}>{a}"}.get(what, link)
    if what in ("slow", "lossy"):
        state = (
            {"delay_s": round(rng.uniform(0.2, 1.0), 3)}
            if what == "slow"
            else {"loss": round(rng.uniform(0.05, 0.4), 3)}
        )
        first = Event(at_s, "link", target, "state", state)
    else:
        first = Event(at_s, "link", target, "cut")
    return [first, Event(until_s, "link", target, "heal")]


def _process(target: str, at_s: float, until_s: float, rng: Random) -> list[Event]:
    what = rng.choice(("kill", "stop", "pause", "restart"))
    if what == "restart":
        return [Event(at_s, "process", target, "restart")]
    mend = "resume" if what == "pause" else "start"
    return [Event(at_s, "process", target, what), Event(until_s, "process", target, mend)]

"""Play a schedule on a deployment: links by the router itself, everything else by a thread on the same start time.

Where links are streams, and there is no router, the thread changes them too.

What a deployment must offer for it (`Targets` says what is missing):

    deployment.network.play(name, events) -> start time, stop_playing(), ask("heal", ...)
    deployment.nodes[n].kill / stop / start / pause / resume (service)
    deployment.clock.freeze(n, at_s) / step(n, offset_s) / rate(n, factor) / release(n)
    deployment.disks.full(n) / read_only(n) / slow(n, delay_s) / heal(n)
    deployment.dependencies.set("n/name", toxic, **attributes) / cut("n/name") / heal("n/name")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from environments.contract import Capability, SuiteError
from environments.schedules.model import Event, Schedule, directions
from environments.schedules.rules import Conditions, check
from environments.schedules.targets import of_deployment

JOIN_S = 30.0  # the longest that one action may take when the player is stopped: a service that ends slowly


@dataclass(frozen=True)
class Played:
    """One event as it was carried out."""

    event: Event
    actual_s: float  # from the start of the schedule
    t_s: float  # seconds since the epoch
    note: str = ""  # what kept it from having an effect
    problem: str = ""  # why it could not be carried out: what ran then proves nothing

    @property
    def late_s(self) -> float:
        return self.actual_s - self.event.at_s


class Player:
    """One playing of a schedule. `stop` drops what is to come and mends what it broke; it may be called twice."""

    def __init__(self, deployment: Any, schedule: Schedule, tell: Callable[[Played], None] = lambda _: None) -> None:
        check(schedule, of_deployment(deployment))
        self.schedule = schedule
        self.played: list[Played] = []
        self.started_at_s = 0.0  # seconds since the epoch
        self._deployment, self._tell = deployment, tell
        self._router_plays = Capability.PACKET_LINKS in deployment.capabilities  # links that are streams: the thread
        self._from_s = 0.0  # monotonic
        self._ended = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """From now on. Raises ValueError or SuiteError if the router refuses."""
        links = self.schedule.of("link") if self._router_plays else []
        others = [event for event in self.schedule.events if event not in links]
        self._from_s = time.monotonic()
        if links:
            commands = [command_of(event) for event in links]
            self._from_s = float(self._deployment.network.play(self.schedule.name, commands))
        self.started_at_s = time.time() - (time.monotonic() - self._from_s)
        if others:
            self._thread = threading.Thread(target=self._run, args=(others,), name="schedule", daemon=True)
            self._thread.start()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._from_s

    def playing(self) -> bool:
        return not self._stopped and self.elapsed_s() < self.schedule.duration_s

    def problems(self) -> list[str]:
        return [
            f"{each.event.where or self.schedule.name}: {each.event}: {each.problem}"
            for each in self.played
            if each.problem
        ]

    def stop(self) -> None:
        """Drop the events still to come, then mend what those before them left broken. SuiteError if that fails."""
        if self._stopped:
            return
        reached_s, self._stopped = self.elapsed_s(), True
        self._ended.set()
        if self._router_plays and self.schedule.of("link"):
            self._deployment.network.stop_playing()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                raise SuiteError(f"schedule {self.schedule.name}: an action did not end within {JOIN_S:g} s")
        by_router = self.schedule.of("link") if self._router_plays else []
        self._mend([event for event in by_router if event.at_s <= reached_s])

    def _mend(self, links: Sequence[Event]) -> None:
        conditions = Conditions()
        for event in [*links, *(each.event for each in self.played if not each.problem and not each.note)]:
            conditions.apply(event)
        failed = []
        for mend in conditions.mends(self.schedule.duration_s):
            try:
                if mend.kind == "link" and self._router_plays:
                    [(a, b)] = directions(mend.target)
                    reason = f"{self.schedule.name} stopped"
                    self._deployment.network.ask("heal", a=a, b=b, both=False, reason=reason)
                else:
                    act(self._deployment, mend)
            except Exception as error:
                failed.append(f"{mend}: {error}")
        if failed:
            raise SuiteError(f"schedule {self.schedule.name} could not be undone: {'; '.join(failed)}")

    def _run(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._ended.wait(max(0.0, self._from_s + event.at_s - time.monotonic())):
                return
            actual_s, now_s, note, problem = self.elapsed_s(), time.time(), "", ""
            try:
                note = act(self._deployment, event)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            played = Played(event, round(actual_s, 4), now_s, note, problem)
            self.played.append(played)
            self._tell(played)


def command_of(event: Event) -> dict[str, Any]:
    """A link event as the router's `play` takes it."""
    a, b = directions(event.target)[0]
    return {"at_s": event.at_s, "a": a, "b": b, "both": ">" not in event.target, event.action: event.value}


def act(deployment: Any, event: Event) -> str:
    """Carry out an event that is not a link's; empty, or why it had no effect. Raises what the deployment raises."""
    if event.kind == "process":
        return _process(deployment, event)
    if event.kind == "link":
        _link(deployment.links, event)
    elif event.kind == "clock":
        _clock(deployment.clock, event)
    elif event.kind == "disk":
        _disk(deployment.disks, event)
    elif event.action == "toxic":
        attributes = {key: value for key, value in event.value.items() if key != "type"}
        deployment.dependencies.set(event.target, event.value["type"], **attributes)
    else:
        getattr(deployment.dependencies, event.action)(event.target)
    return ""


def _link(links: Any, event: Event) -> None:
    """For links that no router plays."""
    (a, b), both = directions(event.target)[0], ">" not in event.target
    if event.action == "state":
        for x, y in directions(event.target):
            links.set(x, y, replace(links.get(x, y), **event.value), both=False)
    else:
        getattr(links, event.action)(a, b, both=both)


def _process(deployment: Any, event: Event) -> str:
    """A check may have killed or started the service itself meanwhile: then there is nothing left to do."""
    name, _, service = event.target.partition("/")
    node, alive = deployment.nodes[name], deployment.nodes[name].alive(service)
    if event.action == "start" and alive:
        return "it runs already"
    if event.action in ("kill", "stop", "pause", "resume") and not alive:
        return "it does not run"
    if event.action == "restart":
        node.kill(service)
        node.start(service)
    else:
        getattr(node, event.action)(service)
    return ""


def _clock(clock: Any, event: Event) -> None:
    if event.action == "release":
        clock.release(event.target)
    else:
        method = {"freeze": clock.freeze, "step_s": clock.step, "rate": clock.rate}[event.action]
        method(event.target, event.value)


def _disk(disks: Any, event: Event) -> None:
    if event.action == "slow_s":
        disks.slow(event.target, event.value)
    else:
        getattr(disks, event.action)(event.target)

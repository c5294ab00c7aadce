"""A deployment that only remembers what was done to it, with the surface that the player uses."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from environments.contract import Capability
from environments.schedules import Event, Schedule

LINK = "edge-1--saas"


class Recorder:
    """Any method may be called; what was called is in `done`."""

    def __init__(self, name: str, done: list[tuple[Any, ...]]) -> None:
        self._name, self._done = name, done

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments, **named: self._done.append((f"{self._name}.{method}", *arguments, *named.items()))


class Node(Recorder):
    services = ("edge",)
    down = False

    def alive(self, service: str) -> bool:
        return not self.down

    def kill(self, service: str) -> None:
        self.down = True
        self._done.append(("node.kill", service))

    def start(self, service: str) -> None:
        self.down = False
        self._done.append(("node.start", service))


class Network:
    def __init__(self, done: list[tuple[Any, ...]]) -> None:
        self.done = done
        self.sent: list[dict[str, Any]] = []

    def play(self, name: str, events: list[dict[str, Any]]) -> float:
        self.sent = list(events)
        return time.monotonic()

    def stop_playing(self) -> int:
        self.done.append(("network.stop_playing",))
        return len(self.sent)

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        if command == "show":
            state = {"up": True, "delay_s": 0.06}
            return {"links": [{"a": a, "b": b, "asked": state} for a, b in (("edge-1", "saas"), ("saas", "edge-1"))]}
        self.done.append((f"network.{command}", fields["a"], fields["b"]))
        return {}


def deployment(**changes: Any) -> Any:
    done: list[tuple[Any, ...]] = []
    fields: dict[str, Any] = {
        "done": done,
        "capabilities": frozenset(Capability),
        "missing": {},
        "nodes": {"edge-1": Node("node", done)},
        "links": SimpleNamespace(names=lambda: [LINK]),
        "network": Network(done),
        "clock": Recorder("clock", done),
        "disks": Recorder("disks", done),
        "dependencies": SimpleNamespace(
            names=lambda: ["edge-1/oidc"],
            set=lambda name, toxic, **attributes: done.append(("dependencies.set", name, toxic, attributes)),
            cut=lambda name: done.append(("dependencies.cut", name)),
            heal=lambda name: done.append(("dependencies.heal", name)),
        ),
    }
    return SimpleNamespace(**{**fields, **changes})


def schedule(*events: Event, name: str = "storm.yaml") -> Schedule:
    ordered = tuple(sorted(events, key=lambda event: event.at_s))
    return Schedule(name, ordered, ordered[-1].at_s if ordered else 0.0)


def cut(at_s: float, link: str = LINK) -> Event:
    return Event(at_s, "link", link, "cut")


def heal(at_s: float, link: str = LINK) -> Event:
    return Event(at_s, "link", link, "heal")

"""Schedules: what happens to the links, and when. A YAML or JSON list, in any order:

- {at_s: 0, link: edge-1--core, state: {delay_s: 0.3, rate_bps: 250000}}
- {at_s: 5, link: edge-1--core, cut: true}          both directions; "edge-1>core" names one
- {at_s: 9, heal: true}                             without a link: every link
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from environments.link import problem_with

_KEYS = ("at_s", "link", "state", "cut", "heal")


class ScheduleError(ValueError):
    """A schedule that cannot be played: names file, line and key."""

    def __init__(self, path: Path, node: yaml.Node, key: str, message: str) -> None:
        self.path, self.line, self.key = path, node.start_mark.line + 1, key
        super().__init__(f"{path}:{self.line}: {key}: {message}")


def load(
    path: Path, links: Sequence[str], presets: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Events for the router's `play`. links: names as `a--b`. presets: what a state given by name means."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}:{line}: not YAML: {error.problem}") from error
    if root is None:
        return []
    if not isinstance(root, yaml.SequenceNode):
        raise ScheduleError(path, root, "schedule", "must be a list of events")
    return sorted(
        (_event(path, node, links, presets or {}) for node in root.value), key=lambda event: float(event["at_s"])
    )


def _event(
    path: Path, node: yaml.Node, links: Sequence[str], presets: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise ScheduleError(path, node, "event", "must be a mapping")
    nodes = {key.value: value for key, value in node.value}
    marks = {key.value: key for key, _ in node.value}
    values = {key: _plain(value) for key, value in nodes.items()}
    for key in values:
        if key not in _KEYS:
            raise ScheduleError(path, marks[key], key, f"unknown key; known: {', '.join(_KEYS)}")
    at_s = values.get("at_s")
    if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not 0 <= at_s < 1e9:
        raise ScheduleError(path, nodes.get("at_s", node), "at_s", f"must be seconds from the start, not {at_s!r}")
    actions = [key for key in ("state", "cut", "heal") if key in values]
    if len(actions) != 1:
        raise ScheduleError(path, node, "event", "must have exactly one of state, cut, heal")
    action = actions[0]
    event: dict[str, Any] = {"at_s": float(at_s)}
    if "link" in values:
        event.update(_ends(path, nodes["link"], values["link"], links))
    elif action != "heal":
        raise ScheduleError(path, node, "link", f"is needed with {action}")
    if action != "state":
        if values[action] is not True:
            raise ScheduleError(path, nodes[action], action, "must be true")
        return {**event, action: True}
    return {**event, "state": _state(path, nodes["state"], values["state"], presets)}


def _plain(node: yaml.Node) -> Any:
    """The value of a node, by YAML's safe rules."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _ends(path: Path, node: yaml.Node, link: Any, links: Sequence[str]) -> dict[str, Any]:
    text = str(link)
    both = ">" not in text
    a, _, b = text.partition("--" if both else ">")
    if f"{a}--{b}" not in links and f"{b}--{a}" not in links:
        raise ScheduleError(path, node, "link", f"no link {text!r}; links: {', '.join(links) or 'none'}")
    return {"a": a, "b": b, "both": both}


def _state(path: Path, node: yaml.Node, state: Any, presets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(state, str):
        if state not in presets:
            raise ScheduleError(path, node, "state", f"no preset {state!r}; presets: {', '.join(presets) or 'none'}")
        return dict(presets[state])
    if not isinstance(state, dict) or not isinstance(node, yaml.MappingNode):
        raise ScheduleError(path, node, "state", "must be a mapping or the name of a preset")
    problem = problem_with(state)
    if problem:
        at = next((key for key, _ in node.value if key.value == problem[0]), node)
        raise ScheduleError(path, at, f"state.{problem[0]}", problem[1])
    return dict(state)

"""Read a schedule file, compile it to a flat list, write that down. A mistake is named by file, line and key.

A file is a list of events, or a mapping: `generator`, `seed`, `duration_s` and the generator's parameters, and `events`
of its own, or `duration_s` and `events` alone. What `written` writes is read again as the same schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from environments.schedules.generators import generate
from environments.schedules.model import (
    ACTIONS,
    Event,
    Schedule,
    ScheduleError,
    Targets,
    directions,
    in_order,
    line_of,
)
from environments.schedules.rules import check, healed_links

Presets = Callable[[str], tuple[Mapping[str, Any], Mapping[str, Any]]]  # name -> states there and back; KeyError
_HEAD = ("name", "duration_s", "grown_from", "events")
MAX_BYTES = 32 << 20
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it is: ten times as fast


def read(path: Path, targets: Targets | None = None, presets: Presets | None = None) -> Schedule:
    """The compiled schedule. targets: what it may act on; None: names are not checked, and generators need theirs in
    the file. presets: what a link state given by name means. Raises ScheduleError, OSError."""
    if path.stat().st_size > MAX_BYTES:
        raise ScheduleError(str(path), "schedule", f"larger than {MAX_BYTES} bytes")
    try:
        return compiled(path.read_text(encoding="utf-8"), path, targets, presets)
    except UnicodeDecodeError as error:
        raise ScheduleError(str(path), "schedule", f"not UTF-8 text: {error}") from None


def compiled(text: str, path: Path, targets: Targets | None = None, presets: Presets | None = None) -> Schedule:
    """As `read`, of a text; `path` is named in errors."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = line_of(path, mark.line + 1 if mark else 1)
        raise ScheduleError(where, "schedule", f"not YAML: {getattr(error, 'problem', error)}") from None
    file = _File(path, presets)
    if isinstance(root, yaml.SequenceNode):
        schedule = _flat(path.name, file.events(root), None, {})
    elif isinstance(root, yaml.MappingNode):
        schedule = _mapping(file, root, targets or Targets())
    else:
        where = file.at(root) if root else line_of(path, 1)
        raise ScheduleError(where, "schedule", "must be a list of events, or a mapping with generator or events")
    check(schedule, targets)
    return schedule


def written(schedule: Schedule) -> str:
    """The schedule as YAML, an event a line."""
    document = schedule.document()
    events = document.pop("events")
    head = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    lines = [_line(event) for event in events]
    return head + ("events:\n" + "".join(lines) if lines else "events: []\n")


def _line(event: Mapping[str, Any]) -> str:
    return "- " + yaml.safe_dump(event, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)


def _flat(name: str, events: list[Event], duration_s: float | None, grown: Mapping[str, Any]) -> Schedule:
    flat: list[Event] = []
    for event in in_order(events):
        if event.target or event.kind != "link":
            flat.append(event)
            continue
        healed = healed_links(flat, event.at_s, event.where)
        if not healed:
            raise ScheduleError(event.where, "heal", "no link is broken by then")
        flat += healed
    last_s = flat[-1].at_s if flat else 0.0
    return Schedule(name, tuple(flat), last_s if duration_s is None else duration_s, grown)


def _mapping(file: _File, root: yaml.MappingNode, targets: Targets) -> Schedule:
    nodes = file.keys(root)
    values = {key: file.plain(node) for key, node in nodes.items() if key != "events"}
    own = file.events(nodes["events"]) if "events" in nodes else []
    name = str(values.get("name", file.path.name))
    duration_s = values.get("duration_s")
    if "duration_s" in nodes and (not _is_number(duration_s) or not 0 <= float(duration_s or 0) < 1e9):
        raise ScheduleError(file.at(nodes["duration_s"]), "duration_s", f"must be seconds, not {duration_s!r}")
    if "generator" not in nodes:
        unknown = next((key for key in nodes if key not in _HEAD), None)
        if unknown is not None:
            known = f"known: {', '.join(_HEAD)}, generator, seed and its parameters"
            raise ScheduleError(file.at(nodes[unknown]), unknown, f"unknown key; {known}")
        if "events" not in nodes:
            raise ScheduleError(file.at(root), "schedule", "a mapping needs generator or events")
        grown = values.get("grown_from") or {}
        if not isinstance(grown, dict):
            raise ScheduleError(file.at(nodes["grown_from"]), "grown_from", "must be a mapping")
        return _flat(name, own, None if duration_s is None else float(duration_s), grown)
    seed = values.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ScheduleError(file.at(nodes.get("seed", root)), "seed", f"must be a whole number, not {seed!r}")
    given = {key: value for key, value in values.items() if key not in ("generator", "seed", *_HEAD)}
    where = file.at(nodes["generator"])
    try:
        grown_schedule = generate(
            str(values["generator"]),
            seed=seed,
            duration_s=None if duration_s is None else float(duration_s),
            targets=targets,
            parameters=given,
        )
    except ScheduleError as error:  # of a parameter: at its line
        message = str(error).partition(": ")[2]
        raise ScheduleError(file.at(nodes.get(error.key, nodes["generator"])), error.key, message) from None
    events = [replace(event, where=where) for event in grown_schedule.events]
    return _flat(name, events + own, grown_schedule.duration_s, grown_schedule.grown_from)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _File:
    """The nodes of one file, with their lines."""

    def __init__(self, path: Path, presets: Presets | None) -> None:
        self.path, self._presets = path, presets

    def at(self, node: yaml.Node) -> str:
        return line_of(self.path, node.start_mark.line + 1)

    def plain(self, node: yaml.Node) -> Any:
        """The value of a node, by YAML's safe rules."""
        try:
            return yaml.constructor.SafeConstructor().construct_document(node)
        except yaml.YAMLError as error:
            raise ScheduleError(self.at(node), "schedule", f"not YAML: {getattr(error, 'problem', error)}") from None

    def keys(self, node: yaml.MappingNode) -> dict[str, yaml.Node]:
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in found:
                raise ScheduleError(self.at(key), name, "is there twice")
            found[name] = value
        return found

    def events(self, node: yaml.Node) -> list[Event]:
        if not isinstance(node, yaml.SequenceNode):
            raise ScheduleError(self.at(node), "events", "must be a list of events")
        return [event for each in node.value for event in self._event(each)]

    def _event(self, node: yaml.Node) -> list[Event]:
        if not isinstance(node, yaml.MappingNode):
            raise ScheduleError(self.at(node), "event", "must be a mapping")
        nodes = self.keys(node)
        values = {key: self.plain(value) for key, value in nodes.items()}
        kind = self._kind(node, values)
        at_s = values.get("at_s")
        if not _is_number(at_s) or not 0 <= float(at_s or 0) < 1e9:
            raise ScheduleError(
                self.at(nodes.get("at_s", node)), "at_s", f"must be seconds from the start, not {at_s!r}"
            )
        known = ACTIONS[kind]
        extra = [key for key in values if key not in ("at_s", kind, *known)]
        if extra:
            names = ", ".join(("at_s", kind, *known))
            raise ScheduleError(self.at(nodes[extra[0]]), extra[0], f"unknown key; of a {kind} event: {names}")
        actions = [key for key in known if key in values]
        if len(actions) != 1:
            raise ScheduleError(self.at(node), "event", f"must have exactly one of {', '.join(known)}")
        [action] = actions
        target = self._target(node, nodes, values, kind, action)
        value = self._value(known[action], action, nodes[action], values[action])
        made = Event(float(at_s or 0), kind, target, action, value, self.at(node))
        return self._by_preset(made, nodes[action]) if isinstance(value, str) else [made]

    def _kind(self, node: yaml.Node, values: Mapping[str, Any]) -> str:
        kinds = [kind for kind in ACTIONS if kind in values]
        if not kinds and "heal" in values:
            return "link"  # `heal` alone: every link
        if len(kinds) != 1:
            raise ScheduleError(self.at(node), "event", f"must name exactly one target: {', '.join(ACTIONS)}")
        return kinds[0]

    def _target(
        self, node: yaml.Node, nodes: Mapping[str, yaml.Node], values: Mapping[str, Any], kind: str, action: str
    ) -> str:
        if kind not in values:
            return ""
        target = values[kind]
        where = self.at(nodes[kind])
        if not isinstance(target, str) or not target:
            raise ScheduleError(where, kind, f"must be a name, not {target!r}")
        if kind == "link" and not all(a and b for a, b in directions(target)):
            raise ScheduleError(where, kind, f"no link {target!r}: write a--b, or a>b for one direction")
        if kind in ("process", "dependency") and not all(target.partition("/")):
            raise ScheduleError(where, kind, f"no {kind} {target!r}: write node/name")
        return target

    def _value(self, expected: str, action: str, node: yaml.Node, value: Any) -> Any:
        problem = ""
        if expected == "true":
            problem = "" if value is True else "must be true"
        elif expected in ("number", "positive", "factor"):
            low = -1e10 if expected == "number" else 0
            ok = _is_number(value) and low <= value <= 1e10 and (expected == "number" or value > 0)
            problem = "" if ok else f"must be a number{'' if expected == 'number' else ' above 0'}, not {value!r}"
        elif expected == "time":
            return self._time(action, node, value)
        elif expected == "toxic":
            ok = isinstance(value, dict) and isinstance(value.get("type"), str)
            problem = "" if ok else "must be a mapping with `type`, the toxic, and its attributes"
        elif expected == "state":
            if isinstance(value, dict) and value:
                return value
            problem = "" if isinstance(value, str) else "must be a mapping or the name of a preset"
        if problem:
            raise ScheduleError(self.at(node), action, problem)
        return value

    def _time(self, action: str, node: yaml.Node, value: Any) -> float:
        """Seconds since the epoch, of a number or a date that YAML or RFC 3339 knows; without a zone it is UTC."""
        try:
            if isinstance(value, str):
                value = datetime.fromisoformat(value)
            if isinstance(value, date) and not isinstance(value, datetime):
                value = datetime(value.year, value.month, value.day)
            if isinstance(value, datetime):
                return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            value = None
        if not _is_number(value):
            raise ScheduleError(self.at(node), action, "must be a time: 2038-01-19T03:14:07Z, or seconds since 1970")
        return float(value)

    def _by_preset(self, event: Event, node: yaml.Node) -> list[Event]:
        """`up` of a preset is for the direction as written, from its first site to its second; `down` for the other."""
        name = event.value
        try:
            there, back = self._presets(name) if self._presets else _shipped(name)
        except KeyError as error:
            raise ScheduleError(self.at(node), "state", f"no preset {name!r}; {error.args[0]}") from None
        ways = directions(event.target)
        if len(ways) == 1 or dict(there) == dict(back):
            return [replace(event, value=dict(there))]
        return [
            replace(event, target=f"{a}>{b}", value=dict(state))
            for (a, b), state in zip(ways, (there, back), strict=True)
        ]


def _shipped(name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A preset of profiles/links.yaml."""
    from profiles.load import preset, presets

    if name not in presets():
        raise KeyError(f"presets: {', '.join(presets())}")
    there, back = preset(name, "")
    return asdict(there), asdict(back)

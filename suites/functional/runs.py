"""FUN-15, FUN-08: what was seen of a run over time, and the judge of whether each step took effect exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from environments.contract import vacuous

STEPS = ("collect", "score", "publish")
TERMINAL = frozenset({"SUCCEEDED", "FAILED", "ABORTED"})
CLOCK_TOLD_S = 0.001  # times are scheduled in milliseconds
END_EVENT = {"SUCCEEDED": "run.end", "FAILED": "run.end", "ABORTED": "run.abort"}


@dataclass(frozen=True)
class Step:
    """A step as the API told it. effect: id of the entity that it made, or None."""

    name: str
    state: str
    effect: str | None = None


@dataclass(frozen=True)
class Seen:
    """One look at a run. when: what had just happened, in words."""

    when: str
    state: str
    steps: tuple[Step, ...]

    @property
    def done(self) -> int:
        return sum(step.state == "SUCCEEDED" for step in self.steps)


@dataclass
class Watched:
    """A run, every look at it, and in the end its effects (entities of kind RunEffect) and events."""

    label: str
    id: str
    wanted: str = "SUCCEEDED"  # the state that it must end in; empty: any terminal one
    seen: list[Seen] = field(default_factory=list)
    effects: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)  # (type, id of the object): of the run and its effects

    @property
    def state(self) -> str:
        return self.seen[-1].state if self.seen else "unknown"

    def told(self) -> dict[str, Any]:
        """As evidence: only the looks that differ from the one before."""
        looks = [look for n, look in enumerate(self.seen) if n == 0 or _facts(look) != _facts(self.seen[n - 1])]
        shown = [f"{look.when}: {look.state} {'/'.join(step.state for step in look.steps)}" for look in looks]
        effects = [f"{effect['props'].get('step')} {effect['id']}" for effect in self.effects]
        return {"run": self.id, "seen": shown, "effects": effects, "events": Counter(type_ for type_, _ in self.events)}


def seen(when: str, run: Mapping[str, Any]) -> Seen:
    """A look, from the API's answer."""
    steps = tuple(Step(each["name"], each["state"], each["effect"]) for each in run["steps"])
    return Seen(when, run["state"], steps)


def _facts(look: Seen) -> tuple[Any, ...]:
    return (look.state, look.steps)


def judge_run(run: Watched) -> list[str]:
    """One terminal state, for good; one effect for each step that succeeded, none for the others; nothing undone."""
    if not run.seen:
        vacuous(f"{run.label}: the run was never looked at")
    last = run.seen[-1]
    if last.state not in TERMINAL:
        steps = ", ".join(f"{step.name} {step.state}" for step in last.steps)
        return [f"{run.label}: run {run.id} has not ended: it is {last.state} ({steps})", *_history(run)]
    problems = _history(run)
    if run.wanted and last.state != run.wanted:
        problems.append(f"run {run.id} ended as {last.state}, expected {run.wanted}")
    problems += _final_steps(run, last) + _effects(run, last) + _events(run, last)
    return [f"{run.label}: {problem}" for problem in problems]


def _history(run: Watched) -> list[str]:
    problems = []
    for before, after in zip(run.seen, run.seen[1:], strict=False):
        if before.state in TERMINAL and _facts(before) != _facts(after):
            problems.append(f"run {run.id} had ended as {before.state} and changed to {after.state} ({after.when})")
        for old, new in zip(before.steps, after.steps, strict=False):
            if old.state == "SUCCEEDED" and old != new:
                problems.append(
                    f"step {old.name} was done ({old.effect}) and is {new.state} {new.effect}, {after.when}"
                )
    return problems


def _final_steps(run: Watched, last: Seen) -> list[str]:
    problems = []
    if tuple(step.name for step in last.steps) != STEPS:
        problems.append(f"run {run.id} has the steps {[step.name for step in last.steps]}, not {list(STEPS)}")
    if last.state == "SUCCEEDED" and last.done != len(STEPS):
        problems.append(f"run {run.id} SUCCEEDED with {last.done} of {len(STEPS)} steps done")
    if any(step.state == "PENDING" for step in last.steps):
        problems.append(f"run {run.id} ended as {last.state} with a step that is still PENDING")
    if last.state == "FAILED" and not any(step.state == "FAILED" for step in last.steps):
        problems.append(f"run {run.id} FAILED, and no step of it did")
    return problems


def _effects(run: Watched, last: Seen) -> list[str]:
    found: dict[str, list[str]] = {}
    for effect in run.effects:
        found.setdefault(str(effect["props"].get("step")), []).append(str(effect["id"]))
    problems = []
    for step in last.steps:
        ids = found.pop(step.name, [])
        wanted = 1 if step.state == "SUCCEEDED" else 0
        if len(ids) != wanted:
            problems.append(f"step {step.name} is {step.state} and has {len(ids)} effects, expected {wanted}: {ids}")
        elif ids != [each for each in (step.effect,) if each is not None]:
            problems.append(f"step {step.name} names the effect {step.effect}, and its effect is {ids}")
    return problems + [f"an effect of a step that the run has not: {name} {ids}" for name, ids in found.items()]


def _events(run: Watched, last: Seen) -> list[str]:
    ends = {name: run.events.count((name, run.id)) for name in ("run.create", "run.end", "run.abort")}
    wanted = {"run.create": 1, "run.end": 0, "run.abort": 0, END_EVENT[last.state]: 1}
    problems = [] if ends == wanted else [f"the event log of run {run.id} has {ends}, expected {wanted}"]
    for effect in run.effects:
        told = run.events.count(("entity.create", str(effect["id"])))
        if told != 1:
            problems.append(f"the effect {effect['id']} is {told} times in the event log, expected once")
    return problems


def judge_boundaries(placed: Sequence[int]) -> None:
    """`placed`: how many steps were done when a crash fell, for each run that it fell on. Vacuous unless a crash fell
    before the first step, between every two, and after the last."""
    lacking = sorted(set(range(len(STEPS) + 1)) - set(placed))
    if lacking:
        vacuous(f"no crash fell where {' and '.join(str(n) for n in lacking)} steps were done")


# schedules


@dataclass(frozen=True)
class Scheduled:
    """A run and when it was due, by the node's clock."""

    run: Watched
    due: datetime


def judge_schedule(scheduled: Sequence[Scheduled]) -> list[str]:
    """No effect is older than the time at which its run was due, by the clock that both are told by."""
    if not any(each.run.effects for each in scheduled):
        vacuous("nothing that was scheduled took effect")
    problems = []
    for each in scheduled:
        for effect in each.run.effects:
            early_s = (each.due - datetime.fromisoformat(str(effect["createdAt"]))).total_seconds()
            if early_s > CLOCK_TOLD_S:
                step = effect["props"].get("step")
                problems.append(f"{each.run.label}: {step} took effect {early_s:.1f} s before it was due ({each.due})")
    return problems


@dataclass(frozen=True)
class Arrived:
    """A run of an edge, and what its parent has of it: effects, and the ids in the parent's event log."""

    run: Watched
    effects: Sequence[Mapping[str, Any]]
    events: Sequence[str]


def judge_arrived(arrived: Sequence[Arrived]) -> list[str]:
    """The parent has the effects of the edge: the same ids, each once, each told once."""
    if not any(each.effects for each in arrived):
        vacuous("no effect is at the parent")
    problems = []
    for each in arrived:
        here = sorted(str(effect["id"]) for effect in each.run.effects)
        there = sorted(str(effect["id"]) for effect in each.effects)
        if here != there:
            problems.append(f"{each.run.label}: effects at the edge {here}, at the parent {there}")
        told = {id_: each.events.count(id_) for id_ in there}
        problems += [
            f"{each.run.label}: the parent tells of the effect {i} {n} times" for i, n in told.items() if n != 1
        ]
    return problems

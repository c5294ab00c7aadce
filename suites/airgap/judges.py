"""Verdicts of the air-gap checks, as pure functions over what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.contract import EgressAttempt, SuiteError, vacuous


@dataclass(frozen=True)
class Answered:
    """One bundle and what came back."""

    name: str
    expected: frozenset[str]
    status: int
    code: str | None


@dataclass(frozen=True)
class Phase:
    """What a node did between two moments (seconds since the epoch); `observations`: answers seen in it."""

    name: str
    start_s: float
    end_s: float
    observations: int


def judge_refusals(answers: Sequence[Answered]) -> list[str]:
    """Every bundle refused with 422 and a code that names its fault. Vacuous without answers."""
    if not answers:
        vacuous("no bundle was presented")
    problems = []
    for each in answers:
        if each.status < 300:
            problems.append(f"accepted: {each.name}")
        elif each.status >= 500 and each.status != 501:
            problems.append(f"crash ({each.status} {each.code}): {each.name}")
        elif each.status != 422 or each.code not in each.expected:
            expected = "/".join(sorted(each.expected))
            problems.append(f"{each.name}: {each.status} {each.code}, expected 422 {expected}")
    return problems


def judge_canaries(canaries: Mapping[str, bool], least: int = 1) -> None:
    """SuiteError unless the ledger saw each of at least `least` kinds of canary: a deaf ledger proves nothing."""
    deaf = sorted(kind for kind, seen in canaries.items() if not seen)
    if deaf:
        raise SuiteError(f"the ledger did not see its canaries: {', '.join(deaf)}")
    if len(canaries) < least:
        raise SuiteError(f"only {len(canaries)} kinds of canary were planted, at least {least} are needed")


def judge_silence(phases: Sequence[Phase], attempts: Sequence[EgressAttempt]) -> list[str]:
    """Zero attempts in every phase; what is allowed, or only a warning, is none. Vacuous unless the node answered in
    each of them."""
    idle = [phase.name for phase in phases if phase.observations == 0]
    if not phases or idle:
        vacuous(f"nothing was observed in: {', '.join(idle) or 'any phase'}")
    problems = []
    for attempt in attempts:
        if not attempt.counts:
            continue
        during = next((p.name for p in phases if p.start_s <= attempt.t_s <= p.end_s), "between phases")
        problems.append(f"{during}: {describe(attempt)}")
    return problems


@dataclass(frozen=True)
class Boot:
    """A restart under one answer of the sentinel. ready_s: None if it was not ready while it was watched."""

    answer: str
    ready_s: float | None
    observations: int  # answers of the node afterwards
    attempts: tuple[EgressAttempt, ...]


def judge_boots(boots: Sequence[Boot], limit_s: float) -> list[str]:
    """Ready within limit_s, at work afterwards, and no attempt. Vacuous unless drop and reject were both tried."""
    if not {"drop", "reject"} <= {boot.answer for boot in boots}:
        vacuous(f"tried under: {sorted(boot.answer for boot in boots) or 'nothing'}")
    problems = []
    for boot in boots:
        if boot.ready_s is None:
            problems.append(f"{boot.answer}: not ready long after {limit_s:g} s")
        elif boot.ready_s > limit_s:
            problems.append(f"{boot.answer}: ready after {boot.ready_s:.1f} s, limit {limit_s:g} s")
        elif not boot.observations:
            vacuous(f"{boot.answer}: the node answered nothing after its boot")
        problems += [f"{boot.answer}: {describe(each)}" for each in boot.attempts if each.counts]
    return problems


CLOCK_S = 60.0  # how far a token's time of issue may be from the suite's clock


def judge_unmoved(
    before: Mapping[str, object],
    after: Mapping[str, object],
    clock_off_s: float,
    phases: Sequence[Phase],
    rows: Sequence[EgressAttempt],
) -> list[str]:
    """Nothing changed, the clock is right, and no client took a stranger's certificate. Vacuous without a state to
    compare, or unless the node answered in each phase."""
    idle = [phase.name for phase in phases if phase.observations == 0]
    if not before or not phases or idle:
        vacuous(f"nothing was observed in: {', '.join(idle) or 'any phase'}")
    problems = [
        f"{key}: {before.get(key)!r} became {after.get(key)!r}"
        for key in sorted(set(before) | set(after))
        if before.get(key) != after.get(key)
    ]
    if abs(clock_off_s) > CLOCK_S:
        problems.append(f"the clock is {clock_off_s:.0f} s off")
    return problems + [describe(row) for row in rows if row.trusted]


def describe(attempt: EgressAttempt) -> str:
    """One line: what, whither, by whom, and what a stranger got to hear."""
    port = "" if attempt.port is None else f":{attempt.port}"
    service = f" ({attempt.service})" if attempt.service not in ("", attempt.protocol) else ""
    by = f" by {attempt.command or 'process'} [{attempt.pid}]" if attempt.pid else ""
    trust = f"; it trusted a stranger's certificate and said {(attempt.said or '')[:100]!r}" if attempt.trusted else ""
    destination = attempt.name or attempt.destination
    return f"{attempt.protocol} to {destination}{port}{service} (IPv{attempt.ip_version}){by}{trust}"


def judge_escapes(before: Mapping[str, str], after: Mapping[str, str], found: Sequence[str]) -> list[str]:
    """Nothing written outside. `before`, `after`: path -> digest of files that must not change; vacuous if none were
    watched. `found`: paths outside the releases that carry the mark of an attack."""
    if not before:
        vacuous("no file was watched")
    problems = [f"written outside: {path}" for path in found]
    for path in sorted(set(before) | set(after)):
        if before.get(path) != after.get(path):
            what = "appeared" if path not in before else "vanished" if path not in after else "changed"
            problems.append(f"{what}: {path}")
    return problems


@dataclass(frozen=True)
class Applied:
    """One step of a version ladder and what the node says to run afterwards."""

    step: str
    offered: str
    allowed: bool  # by the rule: higher than the highest so far, or a signed rollback
    status: int
    code: str | None
    current: str


def judge_ladder(steps: Sequence[Applied], start: str) -> list[str]:
    """Lower versions refused with BUNDLE_ROLLBACK and without effect. Vacuous unless both kinds of step were taken."""
    if not any(s.allowed for s in steps) or all(s.allowed for s in steps):
        vacuous("the ladder needs steps up and steps down")
    problems, running = [], start
    for step in steps:
        accepted = step.status < 300
        if accepted:
            running = step.offered
        if accepted != step.allowed or (not step.allowed and step.code != "BUNDLE_ROLLBACK"):
            wanted = "acceptance" if step.allowed else "BUNDLE_ROLLBACK"
            problems.append(f"{step.step} ({step.offered}): {step.status} {step.code}, expected {wanted}")
        if step.current != running:
            problems.append(f"{step.step}: runs {step.current}, expected {running}")
    return problems

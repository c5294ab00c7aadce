"""Verdicts of the licence checks, as pure functions over what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.contract import EgressAttempt, SuiteError, vacuous


@dataclass(frozen=True)
class Answered:
    """One vector and what came back."""

    name: str
    expected: frozenset[str]
    status: int
    code: str | None


def judge_refusals(answers: Sequence[Answered], status: int = 422) -> list[str]:
    """Every vector refused with `status` and a code that names its fault. Vacuous without answers."""
    if not answers:
        vacuous("no vector was presented")
    problems = []
    for each in answers:
        if each.status < 300:
            problems.append(f"accepted: {each.name}")
        elif each.status >= 500 and each.status != 501:
            problems.append(f"crash ({each.status} {each.code}): {each.name}")
        elif each.status != status or each.code not in each.expected:
            expected = "/".join(sorted(each.expected))
            problems.append(f"{each.name}: {each.status} {each.code}, expected {status} {expected}")
    return problems


def judge_distinct(codes: Mapping[str, set[str | None]]) -> list[str]:
    """`codes`: fault -> codes seen for it. Two faults with the same code cannot be told apart."""
    if len(codes) < 2:
        vacuous("fewer than two faults were presented")
    owner: dict[str | None, str] = {}
    problems = []
    for fault, seen in codes.items():
        for code in seen - {"LICENCE_MALFORMED"}:
            if code in owner and owner[code] != fault:
                problems.append(f"{fault} and {owner[code]} share {code}")
            owner[code] = fault
    return problems


def judge_silence(canaries: Mapping[str, bool], attempts: Sequence[EgressAttempt]) -> list[str]:
    """No attempt to leave. SuiteError if the ledger did not see its canaries: a deaf ledger proves nothing."""
    if not canaries:
        raise SuiteError("no egress canary was planted")
    deaf = sorted(kind for kind, seen in canaries.items() if not seen)
    if deaf:
        raise SuiteError(f"the ledger did not see its canaries: {', '.join(deaf)}")
    return [f"attempt: {a.protocol} to {a.name or a.destination}:{a.port} (IPv{a.ip_version})" for a in attempts]


@dataclass(frozen=True)
class Moment:
    """One installation under a frozen clock. Times in seconds since the epoch."""

    label: str
    offset_s: int  # now minus the boundary
    boundary: str  # nbf or exp
    status: int
    code: str | None
    state: str | None = None  # what GET says afterwards


def judge_boundaries(moments: Sequence[Moment]) -> list[str]:
    """nbf <= now < exp, to the second. Vacuous unless both sides of both boundaries were tried."""
    tried = {(m.boundary, m.offset_s) for m in moments}
    if not {(b, o) for b in ("nbf", "exp") for o in (-1, 0, 1)} <= tried:
        vacuous("not every side of both boundaries was tried")
    problems = []
    for m in moments:
        valid = m.offset_s >= 0 if m.boundary == "nbf" else m.offset_s < 0
        code = None if valid else ("LICENCE_NOT_YET_VALID" if m.boundary == "nbf" else "LICENCE_EXPIRED")
        accepted = 200 <= m.status < 300
        if accepted != valid or (not valid and m.code != code):
            wanted = code or "acceptance"
            problems.append(f"{m.label}, {m.boundary} {m.offset_s:+d} s: {m.status} {m.code}, expected {wanted}")
    return problems


def judge_unchanged(before: Any, after: Any, what: str) -> list[str]:
    """Vacuous when there was nothing that could have changed."""
    if before is None and after is None:
        vacuous(f"nothing was seen of {what}, before or after")
    return [] if before == after else [f"{what} changed: {before} -> {after}"]

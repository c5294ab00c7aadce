"""ISO-21: policies whose evaluation fails, what was seen of decisions by them, and the judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.contract import vacuous
from suites.tether.policies import DENIED, modules

DENIALS = frozenset({"FORBIDDEN", "POLICY_UNAVAILABLE"})
# Two actions by which it is seen at the data plane which policy is in force: one of them is denied by every other one.
MARKERS = {"run.abort": "abortRun(id: $id) { id }", "relationship.delete": "deleteRelationship(id: $id)"}
BOUND_S = 3.0  # for a refusal, where there is nobody to ask
_IF = f'if input.action == "{DENIED}"'
# Every policy here would allow the action, if what is no clear yes were taken for one.
FAILURES: Mapping[str, str] = {
    "two values at once": f"allow := true {_IF}\n\nallow := false {_IF}\n",
    "a number": f"allow := 1 {_IF}\n",
    "a text": f'allow := "true" {_IF}\n',
    "an array": f"allow := [true] {_IF}\n",
    "an object": f'allow := {{"allow": true}} {_IF}\n',
    "a division by zero": f'allow if {{\n\tinput.action == "{DENIED}"\n\t1 / count([]) > 0\n}}\n',
    "undefined": "",
}


def failing(name: str, marker: str) -> dict[str, str]:
    """The policy of that name: everything as ever, the marker denied, and the action undecided."""
    text = modules(DENIED, marker)["authz.rego"]
    if name == "undefined":
        text = text.replace("default allow := false\n", f'allow := false if input.action == "{marker}"\n')
    return {"authz.rego": f"{text}\n{FAILURES[name]}"}


def of_tenant(tenant: str, marker: str) -> dict[str, str]:
    """The action is allowed to one tenant alone."""
    rule = f'allow if {{\n\tinput.action == "{DENIED}"\n\tinput.subject.tenant == "{tenant}"\n}}\n'
    return {"authz.rego": f"{modules(DENIED, marker)['authz.rego']}\n{rule}"}


@dataclass(frozen=True)
class Decision:
    """One request while something is wrong. code: of its refusal; None: it was allowed, or there was no answer."""

    circumstances: str
    asked: str
    status: int | None
    code: str | None
    elapsed_s: float = 0.0


def judge_denials(seen: Sequence[Decision], allowed: Sequence[Decision], codes: frozenset[str] = DENIALS) -> list[str]:
    """What could not be decided was refused, by name and in time; what is allowed was served (the controls)."""
    if not seen or not allowed:
        vacuous(f"{len(seen)} undecided requests, {len(allowed)} allowed ones")
    problems = []
    for each in seen:
        where = f"{each.circumstances}: {each.asked}"
        if each.status is None:
            problems.append(f"{where}: no answer")
        elif each.code not in codes:
            problems.append(f"{where}: {each.code or 'allowed'} ({each.status}), not {' or '.join(sorted(codes))}")
        elif each.elapsed_s > BOUND_S:
            problems.append(f"{where}: refused after {each.elapsed_s:.1f} s, not within {BOUND_S:g} s")
    problems += [f"{e.circumstances}: {e.asked}: {e.code or e.status}, not served" for e in allowed if _refused(e)]
    return problems


def _refused(decision: Decision) -> bool:
    return decision.code is not None or decision.status != 200

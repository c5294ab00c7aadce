"""Both suites against a deployment that misbehaves: a verdict for every check, in time, that tells, and is no pass.

New checks are covered as they come: nothing here names the checks, but for those that may rightly pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hostile_kit
import pytest
from hostile_kit import PROFILES, ROOT, Ran

from conform.checking import CHECK_TIMEOUT_S
from environments.doubles.hostile import BEHAVIOURS, STAGES

EVERYTHING = os.environ.get("CONFORM_HOSTILE") == "all"  # each behaviour at each stage in each profile: minutes
RIGHTLY = {  # what only asks for the schema: where introspection is served it is a genuine one, in these two alone
    "test_every_object_type_and_operation_has_a_row",
    "test_federated_components_are_not_in_the_schema",
}
TRUE_WORDS = ("plausible", "intermittent")  # a behaviour, a stage: some answers are as a node would give them


def combinations() -> list[tuple[str, str]]:
    if EVERYTHING:
        return [(behaviour, stage) for behaviour in BEHAVIOURS for stage in STAGES]
    first = [(behaviour, "from-login") for behaviour in ("html", "slow", "closing", "mixed")]
    rest = [(behaviour, "after-login") for behaviour in BEHAVIOURS]
    return [*first, *rest, ("wrong-types", "intermittent"), ("echo", "intermittent"), ("mixed", "intermittent")]


@pytest.fixture(scope="module")
def expected() -> set[str]:
    """Node ids of every check of both suites in these profiles, as pytest collects them."""
    command = [sys.executable, "-m", "pytest", "suites/functional", "suites/isolation", "--collect-only", "-q", "-n0"]
    command += [part for name in PROFILES for part in ("--profile", name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    found = {line for line in done.stdout.splitlines() if "::" in line and line.startswith("suites/")}
    assert len(found) > 100, done.stdout[-2000:]
    return found


def problems_of(ran: Ran, expected: set[str]) -> list[str]:
    """What is wrong with the verdicts, each with its check."""
    found = [f"no verdict: {check}" for check in sorted(expected - {each["check"] for each in ran.verdicts})]
    partly_true = bool({ran.behaviour, ran.stage} & set(TRUE_WORDS))
    for each in ran.verdicts:
        name, verdict = each["check"].partition("::")[2], each["verdict"]
        said = f"{each['reason']} {each['expected']} {each['observed']}"
        if verdict == "pass" and not (partly_true and name.split("[")[0] in RIGHTLY):
            found.append(f"passed: {name}")
        elif verdict == "error":
            found.append(f"went down, and it is the deployment's fault: {name}: {each['reason'][:300]}")
        elif verdict not in ("pass", "fail", "untestable", "vacuous"):
            found.append(f"{verdict}: {name}")
        if "Traceback" in said or 'File "' in said:
            found.append(f"a traceback: {name}: {said[:300]}")
        if each["duration_s"] > CHECK_TIMEOUT_S:
            found.append(f"took {each['duration_s']:.0f} s: {name}")
        if verdict == "fail":
            found += untold(name, each["reason"], each["evidence"])
    return found


def untold(name: str, reason: str, evidence: dict[str, object]) -> list[str]:
    """A failure comes with what was asked and what came back."""
    last = evidence.get("the last of them")
    if not reason or not isinstance(last, list) or not last:
        return [f"does not tell the exchange: {name}: {reason[:200]}"]
    told = [each for each in last if each.get("request") and ("status" in each or "no answer" in each)]
    return [] if told else [f"does not tell what came back: {name}"]


@pytest.mark.parametrize(("behaviour", "stage"), combinations())
def test_no_check_passes_hangs_or_goes_down(behaviour: str, stage: str, expected: set[str], tmp_path: Path) -> None:
    ran = hostile_kit.run(tmp_path, behaviour, stage)
    problems = problems_of(ran, expected)
    assert not problems, f"{len(problems)} problem(s), {behaviour} {stage}:\n" + "\n".join(problems[:40])
    assert ran.trapped == 0, "a redirect to another host was followed"
    assert "Traceback" not in ran.output
    assert "non-conformant" in ran.output
    assert ran.requests > 0
    assert not any("pass-" in str(each["evidence"]) for each in ran.verdicts), "a password is in the evidence"


def test_each_thing_that_may_be_wrong_is_seen(expected: set[str]) -> None:
    def one(**changes: object) -> Ran:
        check = min(expected)
        told = {"the last of them": [{"request": "GET /", "status": 200}]}
        verdict = {
            "check": check,
            "verdict": "fail",
            "reason": "said",
            "expected": "",
            "observed": "",
            "evidence": told,
        }
        return Ran("html", "from-login", [{**verdict, "duration_s": 1.0, **changes}], "", 0, 1)

    alone = {min(expected)}
    assert problems_of(one(), alone) == []
    assert problems_of(one(), expected)[0].startswith("no verdict")
    for changes in (
        {"verdict": "pass"},
        {"verdict": "error"},
        {"observed": 'File "x.py", line 3'},
        {"duration_s": CHECK_TIMEOUT_S + 1.0},
        {"evidence": {}},
        {"evidence": {"the last of them": [{"request": "GET /"}]}},
    ):
        assert len(problems_of(one(**changes), alone)) == 1, changes

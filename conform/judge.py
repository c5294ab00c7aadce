"""From what a check did to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from environments.contract import (
    Capability,
    Deployment,
    Response,
    SuiteError,
    TransportError,
    Untestable,
    Vacuous,
    wire,
)
from environments.contract.exchanges import Exchange, asked, head
from reports.verdicts import Verdict

# A service that does not come up again is the deployment's fault; the local driver says so with this name.
_NOT_READY = "NotReady"
_TIMEOUT = "Timeout ("  # how pytest-timeout begins its message


@dataclass(frozen=True)
class Judged:
    verdict: Verdict
    reason: str = ""
    needs: str = ""  # for untestable: the capability


PASSED = Judged(Verdict.PASS)


def of_exception(error: BaseException, breach: str = "") -> Judged:
    """The verdict that an exception out of a check stands for.

    breach: an answer to the check that breaks the contract's form, if there was one. Then what nobody foresaw, a
    KeyError say, is the deployment's fault; without one it is a mistake of the suite."""
    text = _said(error) or type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return _of_group(error, breach)
    if isinstance(error, Vacuous):
        return Judged(Verdict.VACUOUS, text)
    if isinstance(error, Untestable):
        return Judged(Verdict.UNTESTABLE, text, _capability(text))
    if isinstance(error, SuiteError):
        return Judged(Verdict.ERROR, text)
    if isinstance(error, AssertionError):
        return Judged(Verdict.FAIL, text)
    if isinstance(error, TransportError):
        return Judged(Verdict.FAIL, f"no answer ({error.kind}): {text}")
    if isinstance(error, TimeoutError) or type(error).__name__ == _NOT_READY:
        return Judged(Verdict.FAIL, text)
    if isinstance(error, pytest.fail.Exception):
        return Judged(Verdict.ERROR if text.startswith(_TIMEOUT) else Verdict.FAIL, text)
    if isinstance(error, pytest.skip.Exception):
        return Judged(Verdict.ERROR, f"a check must not skip; it says `untestable` and names a capability: {text}")
    if breach:
        return Judged(Verdict.FAIL, f"{breach}. The check could not read on ({type(error).__name__}: {text[:200]})")
    return Judged(Verdict.ERROR, f"{type(error).__name__}: {text}")


def breach_in(exchanges: Sequence[Exchange]) -> str:
    """The last answer of these that breaks the contract's form, and how; empty if none does."""
    for exchange in reversed(exchanges):
        if isinstance(exchange.answer, Response) and (broken := wire.breach(exchange.answer)):
            answer = f"status {exchange.answer.status}, {head(exchange.answer.body, 300)!r}"
            return f"the answer to {asked(exchange.request, 200)} breaks the contract's form: {broken}; it was {answer}"
    return ""


def _said(error: BaseException) -> str:
    """The message; without what pytest appends to that of an assertion, the expression taken apart."""
    text = str(error).strip()
    return text.split("\nassert ")[0].rstrip() if isinstance(error, AssertionError) else text


def _of_group(group: BaseExceptionGroup[BaseException], breach: str) -> Judged:
    """The worst of several, for the suite first: what it hides is unknown."""
    found = [of_exception(each, breach) for each in group.exceptions]
    worst = next((each for each in found if each.verdict is Verdict.ERROR), found[0])
    return replace(worst, reason="; ".join(each.reason for each in found))


def _capability(text: str) -> str:
    named = text.split(":")[0].strip()
    return named if named in [each.value for each in Capability] else ""


def unmet(deployment: Deployment, needs: tuple[Capability, ...]) -> Judged | None:
    """Untestable if the environment lacks a capability that the check needs."""
    for capability in needs:
        if capability not in deployment.capabilities:
            why = deployment.missing.get(capability, "this environment does not offer it")
            return Judged(Verdict.UNTESTABLE, f"{capability.value}: {why}", capability.value)
    return None


def unproven(deployment: Deployment) -> Judged | None:
    """An error if the links are not what was asked, or the ledger did not see its canaries: no check counts then."""
    for row in deployment.calibration:
        if not row.ok:
            return Judged(
                Verdict.ERROR,
                f"link {row.link} is not calibrated: {row.measure} asked {row.asked:g}, measured {row.measured:g}"
                f" (tolerance {row.tolerance:g}, {row.samples} samples)",
            )
    for site, seen in deployment.canaries.items():
        deaf = sorted(kind for kind, ok in seen.items() if not ok)
        if deaf:
            return Judged(Verdict.ERROR, f"the egress ledger of {site} did not see its canaries: {', '.join(deaf)}")
    return None


def with_crashes(judged: Judged, crashes: list[str]) -> Judged:
    """A service that ended by itself during the check makes it a failure, whatever else it found."""
    if not crashes:
        return judged
    lines = "; ".join(f"{line} during the check" for line in crashes)
    return Judged(Verdict.FAIL, f"{lines}. {judged.reason}".strip().rstrip("."))


def with_loss(judged: Judged, why: str | None) -> Judged:
    """A deployment that was lost under the check proves nothing, whatever the check made of it."""
    if why is None or judged.verdict is Verdict.ERROR:
        return judged
    return Judged(Verdict.ERROR, f"{why}; the check had said {judged.verdict}: {judged.reason}".rstrip(": "))


def with_heal_problem(judged: Judged, problem: str | None) -> Judged:
    """A deployment that cannot be healed after a passing check leaves that pass in doubt."""
    if problem is None:
        return judged
    text = f"after the check the deployment did not heal: {problem}"
    if judged.verdict is Verdict.PASS:
        return Judged(Verdict.ERROR, text)
    return replace(judged, reason=f"{judged.reason}; {text}")

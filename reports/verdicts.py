"""Verdicts, how several become one, and what they come to for the run as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.model import Report


class Verdict(StrEnum):
    """What is known of one requirement in one profile."""

    PASS = "pass"
    FAIL = "fail"
    VACUOUS = "vacuous"
    NOT_APPLICABLE = "not-applicable"
    UNTESTABLE = "untestable"
    WAIVED = "waived"
    ERROR = "error"
    NO_CHECK_YET = "no-check-yet"
    NOT_SELECTED = "not-selected"

    @property
    def meaning(self) -> str:
        return _MEANING[self]

    @property
    def glyph(self) -> str:
        """One character, so that no reader depends on colour."""
        return _GLYPH[self]

    @property
    def red(self) -> bool:
        """Red in every run, strict or not."""
        return self in (Verdict.FAIL, Verdict.VACUOUS, Verdict.ERROR)


_MEANING = {
    Verdict.PASS: "the promise was put to the test here and held",
    Verdict.FAIL: "the promise was put to the test here and broken",
    Verdict.VACUOUS: "the check ran and observed nothing, which proves nothing",
    Verdict.NOT_APPLICABLE: "the catalogue does not ask this of the profile",
    Verdict.UNTESTABLE: "this environment lacks a capability that the check needs",
    Verdict.WAIVED: "set aside by a person, with a reason and an expiry date",
    Verdict.ERROR: "the suite itself failed, or no verdict was recorded",
    Verdict.NO_CHECK_YET: "in the catalogue, without a check so far",
    Verdict.NOT_SELECTED: "it applies and has a check, which this run was asked to leave out",
}
_GLYPH = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.VACUOUS: "∅",
    Verdict.NOT_APPLICABLE: "·",
    Verdict.UNTESTABLE: "?",
    Verdict.WAIVED: "~",
    Verdict.ERROR: "!",
    Verdict.NO_CHECK_YET: "○",
    Verdict.NOT_SELECTED: "–",
}

# The worst of several checks is the verdict of their requirement. Only the first six come from checks.
WORST_FIRST = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.VACUOUS,
    Verdict.UNTESTABLE,
    Verdict.WAIVED,
    Verdict.PASS,
    Verdict.NO_CHECK_YET,
    Verdict.NOT_SELECTED,
    Verdict.NOT_APPLICABLE,
)


def aggregate(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of one requirement from those of its checks. ValueError for none: nothing is not a pass."""
    found = list(verdicts)
    if not found:
        raise ValueError("no verdicts to aggregate")
    return min(found, key=WORST_FIRST.index)


class Outcome(StrEnum):
    """What a run comes to."""

    CONFORMANT = "conformant"
    NON_CONFORMANT = "non-conformant"
    NOT_FULLY_VERIFIED = "not-fully-verified"
    SUITE_ERROR = "suite-error"
    OBSERVED = "observed"  # a deployment was stood up to be watched; nothing was asked of it


class ExitCode(IntEnum):
    CONFORMANT = 0
    NON_CONFORMANT = 1
    NOT_FULLY_VERIFIED = 2
    SUITE_ERROR = 255


_EXIT = {
    Outcome.CONFORMANT: ExitCode.CONFORMANT,
    Outcome.NON_CONFORMANT: ExitCode.NON_CONFORMANT,
    Outcome.NOT_FULLY_VERIFIED: ExitCode.NOT_FULLY_VERIFIED,
    Outcome.SUITE_ERROR: ExitCode.SUITE_ERROR,
    Outcome.OBSERVED: ExitCode.CONFORMANT,
}


def outcome(report: Report, strict: bool) -> tuple[Outcome, str, ExitCode]:
    """Outcome, its reason in one sentence, and the exit code.

    A broken promise outweighs everything. A suite error comes next, because what it hid is unknown; then vacuous
    checks. Only then does it matter whether all was verified: always when nothing was, or the run was cut short, and
    under `strict` whenever something that applies was not.
    """
    result, reason = _judge(report, strict)
    return result, reason, _EXIT[result]


def _judge(report: Report, strict: bool) -> tuple[Outcome, str]:
    failed = report.ids_with(Verdict.FAIL)
    if failed:
        return Outcome.NON_CONFORMANT, f"{_requirements(failed)} broken: {_some(failed)}"
    errors = report.ids_with(Verdict.ERROR)
    if errors:
        return (
            Outcome.SUITE_ERROR,
            f"{_requirements(errors)} without a sound verdict, the suite's own fault: {_some(errors)}",
        )
    vacuous = report.ids_with(Verdict.VACUOUS)
    if vacuous:
        return (
            Outcome.NON_CONFORMANT,
            f"{_requirements(vacuous)} observed nothing, which proves nothing: {_some(vacuous)}",
        )
    reach = report.reach
    if report.run.stood_up:
        return Outcome.OBSERVED, "a deployment was stood up and watched; no requirement was put to the test"
    if report.partial:
        return Outcome.NOT_FULLY_VERIFIED, "the run was cut short; its journal is marked partial"
    if reach.verified == 0:
        return Outcome.NOT_FULLY_VERIFIED, "no requirement was verified"
    if strict and reach.verified < reach.applicable:
        left = reach.applicable - reach.verified
        return Outcome.NOT_FULLY_VERIFIED, f"strict: {left} of {reach.applicable} applicable requirements not verified"
    return Outcome.CONFORMANT, "every promise that could be put to the test here held"


def _requirements(ids: list[str]) -> str:
    return f"{len(ids)} requirement{'' if len(ids) == 1 else 's'}"


def _some(ids: list[str], most: int = 8) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")

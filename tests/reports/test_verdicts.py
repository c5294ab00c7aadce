"""How verdicts add up, for a requirement and for a run."""

from __future__ import annotations

from itertools import permutations

import pytest

from reports.verdicts import WORST_FIRST, Outcome, Verdict, aggregate
from tests.reports.small import GREEN, Make, verdict


def test_every_verdict_has_a_meaning_a_glyph_of_its_own_and_a_rank() -> None:
    assert len({verdict.glyph for verdict in Verdict}) == len(Verdict) == len(set(WORST_FIRST))
    assert all(verdict.meaning for verdict in Verdict)


def test_the_worst_verdict_counts_in_any_order() -> None:
    ranked = [Verdict.ERROR, Verdict.FAIL, Verdict.VACUOUS, Verdict.UNTESTABLE, Verdict.WAIVED, Verdict.PASS]
    for better, worse in ((b, w) for i, w in enumerate(ranked) for b in ranked[i:]):
        assert {aggregate(order) for order in permutations([better, worse])} == {worse}


def test_no_verdict_is_not_a_pass() -> None:
    with pytest.raises(ValueError, match="no verdicts"):
        aggregate([])


@pytest.mark.parametrize(
    ("found", "strict", "outcome", "code"),
    [
        (["pass"], False, Outcome.CONFORMANT, 0),
        (["fail"], False, Outcome.NON_CONFORMANT, 1),
        (["vacuous"], False, Outcome.NON_CONFORMANT, 1),
        (["error"], False, Outcome.SUITE_ERROR, 255),
        (["error", "vacuous"], False, Outcome.SUITE_ERROR, 255),
        (["error", "fail"], False, Outcome.NON_CONFORMANT, 1),
        (["untestable"], False, Outcome.CONFORMANT, 0),
        (["waived"], False, Outcome.CONFORMANT, 0),
        (["pass"], True, Outcome.NOT_FULLY_VERIFIED, 2),  # OPS-09 has no check yet
        (["untestable"], True, Outcome.NOT_FULLY_VERIFIED, 2),
        (["fail"], True, Outcome.NON_CONFORMANT, 1),
    ],
)
def test_outcome_and_exit_code(make: Make, found: list[str], strict: bool, outcome: Outcome, code: int) -> None:
    extra = [verdict("SYN-01", "edge-dil", value) | {"check": f"check {n}"} for n, value in enumerate(found)]
    report = make(*GREEN[:2], *extra, strict=strict)
    assert (report.outcome, report.exit_code) == (outcome, code)
    assert report.reason


def test_strict_is_conformant_when_all_that_applies_passed(make: Make) -> None:
    report = make(*GREEN, *(verdict("OPS-09", profile) for profile in ("saas", "edge-dil")), strict=True)
    assert report.outcome is Outcome.CONFORMANT
    assert report.reach.sentence == "3 of 3 applicable requirements verified here"


def test_nothing_verified_is_never_conformant(make: Make) -> None:
    every = [{**record, "verdict": "untestable", "needs": "containers"} for record in GREEN]
    report = make(*every)
    assert (report.outcome, report.exit_code) == (Outcome.NOT_FULLY_VERIFIED, 2)
    assert report.reach.left == {"need containers": 2, "have no check yet": 1}


def test_a_run_cut_short_is_never_conformant(make: Make) -> None:
    assert make(*GREEN, partial=True).outcome is Outcome.NOT_FULLY_VERIFIED
    report = make(*GREEN[:2], partial=True)
    assert report.outcome is Outcome.SUITE_ERROR
    assert report.cell("SYN-01", "edge-dil").reason == "no verdict recorded"

"""How a check ends: both sides of its verdict, and a reason that fits a line."""

from __future__ import annotations

import pytest

from environments.contract import Evidence
from suites.exchange import conclude, listed


def test_without_a_problem_it_says_what_it_saw() -> None:
    evidence = Evidence()
    conclude(evidence, [], "none", "0 of 7")
    assert (evidence.expected, evidence.observed) == ("none", "0 of 7")


def test_the_first_problem_is_the_reason_and_all_are_observed() -> None:
    evidence = Evidence()
    with pytest.raises(AssertionError) as caught:
        conclude(evidence, ["a leaks", "b leaks", "a leaks"], "none", "0 of 7")
    assert str(caught.value).startswith("a leaks (the first of 3 problems)")
    assert evidence.observed == "a leaks (2 times)\nb leaks"
    with pytest.raises(AssertionError, match=r"\Aa leaks(\n|\Z)"):
        conclude(evidence, ["a leaks"], "none", "0 of 7")


def test_of_many_problems_the_rest_is_counted() -> None:
    lines = listed([str(n) for n in range(25)], most=3).split("\n")
    assert lines == ["0", "1", "2", "and 22 more"]

"""The judge of ISO-22 on engines good and bad."""

from __future__ import annotations

import pytest

from environments.contract import Vacuous
from suites.isolation.engine import CATALOGUE, FLAWS, LAST_DAY, Engine, judge_engine, open_flaws

TODAY = "2026-11-25"


def engine(version: str, **changed: object) -> Engine:
    major, minor = (int(part) for part in version.split("."))
    facts = {
        "number": major * 10000 + minor,
        "text": f"PostgreSQL {version} on x86_64-pc-linux-gnu, compiled by gcc",
        "catalogue": CATALOGUE.get(major, 202611011),
        **changed,
    }
    return Engine(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["15.14", "16.10", "17.6", "18.0", "18.6", "19.0"])
def test_releases_with_every_fix_pass(version: str) -> None:
    assert judge_engine(engine(version), version, TODAY) == []


@pytest.mark.parametrize(
    ("version", "flaw"), [("15.13", "8713"), ("16.9", "8714"), ("17.5", "8715"), ("16.2", "10976")]
)
def test_the_release_before_a_fix_is_told_with_its_flaw(version: str, flaw: str) -> None:
    problems = judge_engine(engine(version), version, TODAY)
    assert any(flaw in problem for problem in problems), problems


def test_a_major_is_judged_to_its_last_day() -> None:
    assert judge_engine(engine("14.20"), "14.20", LAST_DAY[14].isoformat()) == []
    assert "no fixes any more" in judge_engine(engine("14.20"), "14.20", TODAY)[0]
    assert any("before 2025" in problem for problem in judge_engine(engine("9.6"), "9.6", TODAY))


def test_a_version_that_is_only_said_is_no_version() -> None:
    assert "discovery claims 17.99" in judge_engine(engine("18.6"), "17.99", TODAY)[0]
    assert "no version" in judge_engine(engine("18.6"), None, TODAY)[0]
    assert "another major" in judge_engine(engine("18.6", catalogue=CATALOGUE[16]), "18.6", TODAY)[0]
    assert "version() says" in judge_engine(engine("18.6", text="PostgreSQL 16.2 on x86_64"), "18.6", TODAY)[0]
    with pytest.raises(Vacuous):
        judge_engine(None, "18.6", TODAY)


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.cve)
def test_each_flaw_ends_at_the_release_that_its_table_names(flaw: object) -> None:
    for major, minor in flaw.fixed_in.items():  # type: ignore[attr-defined]
        assert flaw in open_flaws(major, minor - 1)
        assert flaw not in open_flaws(major, minor)
    assert flaw in open_flaws(min(flaw.fixed_in) - 1, 99)  # type: ignore[attr-defined]

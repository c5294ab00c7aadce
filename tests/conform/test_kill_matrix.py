"""The kill matrix without its processes: where defects are tried, and what their journals come to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import profiles
from conform import catalogue
from conform.defects import KnownDefect, known
from conform.killmatrix import Outcome, _row
from conform.killplan import EDGE_ALONE, WAITING_UNTIL, WITH_PARENT, Plan, Planner, waits
from conform.matrix import Fate, Matrix, Row, kills_of, markdown, publish, published, suites_digest
from reports.journal import JournalWriter


@cache
def planner(**took_s: float) -> Planner:
    loaded = [profiles.load(name) for name in (*profiles.ids(), str(EDGE_ALONE))]
    return Planner(loaded, catalogue.checks(), catalogue.catalogue(), took_s)


def defect(*kills: str, modes: tuple[str, ...] = ("A", "B", "Ct", "Ca", "D"), phase: str = "service") -> KnownDefect:
    return KnownDefect("made_up", kills, modes, phase, "It goes wrong.")


@pytest.mark.parametrize("name", known())
def test_every_defect_has_a_place_where_every_id_it_claims_is_checked(name: str) -> None:
    plan = planner().plan(known()[name])
    assert plan.claimed == known()[name].kills
    assert not plan.homeless
    assert plan.profiles


def test_every_requirement_with_a_check_has_a_defect() -> None:
    entries = catalogue.catalogue()
    claimed = {requirement for each in known().values() for requirement in each.kills}
    checked = {check.requirement for check in catalogue.checks() if not entries[check.requirement].meta}
    assert sorted(checked - claimed) == []


def test_a_defect_is_tried_in_the_cheapest_profile_whose_own_node_has_it() -> None:
    assert planner().plan(defect("ISO-08", modes=("A",))).profiles == ("saas",)
    assert planner().plan(defect("TET-06", modes=("D",))).profiles in (("edge-airgap",), ("edge-dil",))
    assert planner().plan(defect("MIG-07")).profiles == ("dedicated-to-onprem",)


def test_ids_that_no_one_profile_hosts_take_several() -> None:
    plan = planner().plan(defect("ISO-08", "SYN-01"))
    assert set(plan.claimed) == {"ISO-08", "SYN-01"}
    assert len(plan.profiles) == 2


def test_an_id_without_a_place_is_homeless() -> None:
    assert planner().plan(defect("SYN-01", modes=("B",))).homeless == ("SYN-01",)


def test_what_an_edge_without_a_parent_can_tell_is_tried_there() -> None:
    assert planner().plan(defect("FUN-11", modes=("D",))).profiles == (EDGE_ALONE.stem,)
    for requirement in WITH_PARENT:
        assert EDGE_ALONE.stem not in planner().plan(defect(requirement, modes=("D",))).profiles


def test_what_waits_and_what_works_is_mixed_and_ends_with_what_works() -> None:
    kinds = [f"{'SYN' if number % 3 else 'ISO'}-{number:02}" for number in range(60)]
    plans = [Plan(each, ("edge-dil",), (each,)) for each in kinds]
    turns = planner().in_turn(plans)
    assert sorted(plan.name for plan in turns) == sorted(kinds)
    waiting = [at for at, plan in enumerate(turns) if waits(plan)]
    assert len(turns) - max(waiting) > (1 - WAITING_UNTIL) * (len(turns) - len(waiting))
    assert max(after - before for before, after in pairwise(waiting)) <= 2
    assert planner().in_turn([]) == []


def test_the_dearest_of_a_kind_comes_first() -> None:
    places = {"cheap": (EDGE_ALONE.stem,), "dear": ("edge-dil", "saas")}
    cheap, dear = (Plan(name, there, ("ISO-08",), defect=defect("ISO-08")) for name, there in places.items())
    assert planner().in_turn([cheap, dear]) == [dear, cheap]


def test_what_took_longest_before_comes_first() -> None:
    quick, slow = (replace(planner().plan(defect("ISO-08")), name=name) for name in ("quick", "slow"))
    assert planner(quick=2.0, slow=30.0).in_turn([quick, slow]) == [slow, quick]
    assert planner(quick=30.0, slow=2.0).in_turn([quick, slow]) == [quick, slow]


def test_the_sample_leaves_out_what_must_fail() -> None:
    plan = planner().plan(defect("FUN-11", modes=("A",)))
    assert plan.sample
    assert "FUN-11" not in plan.sample


def test_each_requirement_is_tried_clean_once() -> None:
    plans = [planner().plan(each) for each in known().values()]
    clean = [requirement for plan in planner().clean(plans) for requirement in plan.claimed]
    assert len(clean) == len(set(clean))
    assert set(clean) == {requirement for plan in plans for requirement in plan.claimed}


@pytest.mark.parametrize(
    ("verdicts", "fate"),
    [
        ({"ISO-08": ["pass", "fail"], "FUN-11": ["pass"]}, Fate.KILLED),
        ({"ISO-08": ["pass"], "FUN-11": ["pass"]}, Fate.SURVIVED),
        ({"ISO-08": ["vacuous"], "FUN-11": ["pass"]}, Fate.SURVIVED),
        ({"ISO-08": ["untestable"], "FUN-11": ["pass"]}, Fate.UNTESTABLE),
        ({"ISO-08": ["fail"], "FUN-11": ["pass", "fail"]}, Fate.FALSE_ALARM),
        ({"ISO-08": ["error"], "FUN-11": ["pass"]}, Fate.ERROR),
        ({"ISO-08": ["fail"], "FUN-11": ["error"]}, Fate.ERROR),
        ({"FUN-11": ["pass"]}, Fate.ERROR),
        ({}, Fate.ERROR),
    ],
)
def test_a_defect_is_killed_only_by_a_failing_check(tmp_path: Path, verdicts: dict[str, list[str]], fate: Fate) -> None:
    with JournalWriter(tmp_path / "journal.jsonl") as journal:
        journal.write("header", run_id="r")
        for requirement, found in verdicts.items():
            for verdict in found:
                journal.write("verdict", requirement=requirement, profile="saas", verdict=verdict, reason="because")
    plan = Plan("made_up", ("saas",), ("ISO-08",), ("FUN-11",), defect("ISO-08"))
    row = _row(plan, Outcome(plan, tmp_path, 1.0, ""))
    assert row.fate is fate
    assert bool(row.reason) is (fate is not Fate.KILLED)


def test_a_process_that_left_no_journal_is_an_error(tmp_path: Path) -> None:
    plan = Plan("made_up", ("saas",), ("ISO-08",), ("FUN-11",), defect("ISO-08"))
    assert _row(plan, Outcome(plan, tmp_path, 1.0, "")).fate is Fate.ERROR


def row(name: str, fate: Fate, **claimed: str) -> Row:
    return Row(
        defect=name,
        phase="service",
        says="It | goes wrong.",
        profiles=["saas"],
        claimed={key.replace("_", "-"): value for key, value in claimed.items()},
        sample={"FUN-11": "pass"},
        fate=fate,
    )


def matrix(*rows: Row, clean: str = "pass", without: tuple[str, ...] = ()) -> Matrix:
    return Matrix(
        suites_digest="0",
        complete=True,
        clean={"ISO-08": clean},
        kills=kills_of(rows),
        without_defect=list(without),
        rows=list(rows),
    ).sealed()


def test_the_matrix_holds_when_all_are_killed_all_is_clean_and_all_have_a_defect() -> None:
    killed = row("a", Fate.KILLED, ISO_08="fail")
    assert matrix(killed).ok
    assert matrix(killed).kills == {"ISO-08": ["a"]}
    assert not matrix(killed, row("b", Fate.SURVIVED, ISO_08="pass")).ok
    assert not matrix(killed, clean="fail").ok
    assert not matrix(killed, without=("FUN-11",)).ok


def test_the_digest_is_of_what_was_found_and_not_of_when() -> None:
    killed = row("a", Fate.KILLED, ISO_08="fail")
    assert matrix(killed).digest == matrix(killed.model_copy(update={"seconds": 9.0, "log": "/elsewhere"})).digest
    assert matrix(killed).digest != matrix(row("a", Fate.SURVIVED, ISO_08="pass")).digest


def test_what_is_published_is_read_again(tmp_path: Path) -> None:
    made = matrix(row("a", Fate.KILLED, ISO_08="fail"))
    publish(made, tmp_path / "docs", tmp_path / "docs")
    assert (published(tmp_path / "docs") or {})["digest"] == made.digest
    assert published(tmp_path / "docs", "containers") is None
    other = made.model_copy(update={"driver": "containers"}).sealed()
    publish(other, tmp_path / "docs", tmp_path / "docs")
    assert (published(tmp_path / "docs", "containers") or {})["digest"] == other.digest != made.digest
    assert (published(tmp_path / "docs") or {})["digest"] == made.digest
    text = (tmp_path / "docs" / "kill-matrix.md").read_text()
    assert "It \\| goes wrong." in text
    assert "| ISO-08 | pass | a |" in text
    assert "\n".join(markdown(made)) in text
    assert published(tmp_path) is None


def test_the_digest_of_the_suites_follows_their_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = suites_digest(tmp_path)
    (tmp_path / "a.py").write_text("2")
    assert suites_digest(tmp_path) != before

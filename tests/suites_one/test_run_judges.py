"""FUN-15 and FUN-08: the judge of runs sees what is lost, done twice, or changed after the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from environments.contract import Vacuous
from suites.functional.runs import STEPS, Seen, Step, Watched, judge_boundaries, judge_run


def look(state: str, done: int, when: str = "then", left: str = "PENDING") -> Seen:
    steps = [Step(name, "SUCCEEDED", f"e-{name}") for name in STEPS[:done]]
    return Seen(when, state, (*steps, *(Step(name, left) for name in STEPS[done:])))


def good(state: str = "SUCCEEDED", done: int = 3, left: str = "ABORTED") -> Watched:
    effects: list[Any] = [{"id": f"e-{name}", "props": {"step": name}} for name in STEPS[:done]]
    end = "run.abort" if state == "ABORTED" else "run.end"
    events = [("run.create", "r"), *(("entity.create", effect["id"]) for effect in effects), (end, "r")]
    seen = [
        look("QUEUED", 0),
        look("RUNNING", min(done, 1)),
        look(state, done, left=left),
        look(state, done, left=left),
    ]
    return Watched("one", "r", state, seen, effects, events)


def failed() -> Watched:
    return good("FAILED", 2, "FAILED")


@pytest.mark.parametrize("run", [good(), good("ABORTED", 0), good("ABORTED", 2), failed()])
def test_a_run_that_ended_once_is_good(run: Watched) -> None:
    assert judge_run(run) == []
    assert run.told()["run"] == "r" and len(run.told()["seen"]) <= 3


def test_what_went_wrong_is_told() -> None:
    run, first = good(), good().effects[0]
    other: dict[str, Any] = {"id": "another", "props": {"step": STEPS[0]}}
    unnamed: dict[str, Any] = {"id": "another", "props": {}}
    without_end = [each for each in run.events if each[0] != "run.end"]
    bad = {
        "has not ended": replace(run, seen=[look("RUNNING", 2)]),
        "ended as SUCCEEDED, expected ABORTED": replace(run, wanted="ABORTED"),
        "has 2 effects": replace(run, effects=[*run.effects, other]),
        "has 0 effects": replace(run, effects=run.effects[1:]),
        "names the effect": replace(run, effects=[other, *run.effects[1:]]),
        "an effect of a step that the run has not": replace(run, effects=[*run.effects, unnamed]),
        "had ended as SUCCEEDED and changed to RUNNING": replace(
            run, seen=[run.seen[-1], look("RUNNING", 2), *run.seen]
        ),
        "was done (e-collect) and is PENDING": replace(run, seen=[look("RUNNING", 1), look("QUEUED", 0), *run.seen]),
        "SUCCEEDED with 2 of 3": replace(run, seen=[look("SUCCEEDED", 2)]),
        "still PENDING": replace(good("ABORTED", 1), seen=[look("ABORTED", 1)]),
        "and no step of it did": replace(failed(), seen=[look("FAILED", 2, left="ABORTED")]),
        "'run.end': 2": replace(run, events=[*run.events, ("run.end", "r")]),
        "'run.end': 0": replace(run, events=without_end),
        "'run.abort': 1": replace(run, events=[*run.events, ("run.abort", "r")]),
        "2 times in the event log": replace(run, events=[*run.events, ("entity.create", first["id"])]),
        "has the steps": replace(run, seen=[replace(look("SUCCEEDED", 3), steps=look("SUCCEEDED", 3).steps[:2])]),
    }
    for told, each in bad.items():
        assert any(told in problem for problem in judge_run(each)), (told, judge_run(each))


def test_nothing_seen_is_no_pass() -> None:
    with pytest.raises(Vacuous):
        judge_run(replace(good(), seen=[]))
    judge_boundaries([3, 0, 1, 2, 2])
    with pytest.raises(Vacuous, match="where 2 steps"):
        judge_boundaries([0, 1, 3])

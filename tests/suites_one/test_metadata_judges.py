"""FUN-06 and FUN-08: the reference of metadata, the form that answers have, and judges that see what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from environments.contract import Vacuous
from suites.functional.metadata import Answer, Reference, Session, Step, step, times
from suites.functional.replaying import FIELDS, Trial, judge_answers, request
from suites.functional.runs import Arrived, Scheduled, Watched, judge_arrived, judge_schedule
from suites.functional.sequences import corners, sequences


def told(*steps: Step) -> list[str]:
    return Reference().run(steps)


def test_the_reference_compares_code_points() -> None:
    kinds = ("a", "A", "a ", "e\u0301", "\u00e9")
    made = [step("create", kind="<m>" + kind) for kind in kinds]
    lists = told(*made, *(step("list", kind="<m>" + kind) for kind in kinds))[len(kinds) :]
    assert [[doc["id"] for doc in json.loads(each)] for each in lists] == [[f"#{n}"] for n in range(1, 6)]


def test_the_reference_searches_folded_and_without_wildcards() -> None:
    found = told(
        step("create", kind="k", labels=["<m>Straße"], props={"deep": [{"x": "<m>50%"}]}),
        *(step("search", text=text) for text in ("<M>STRASSE", "<m>50%", "<m>5_%", "%<m>", "<m>\ud800")),
    )
    assert [len(json.loads(each)) for each in found[1:5]] == [1, 1, 0, 0] and found[5] == "INVALID"


def test_the_reference_keeps_references_and_identity() -> None:
    found = told(
        step("create", **{"as": "a"}, kind="k"),
        step("create", **{"as": "b"}, kind="k"),
        step("relate", **{"as": "r"}, src="a upper", dst="b", type="t"),
        step("relate", src="a", dst="nobody", type="t"),
        step("relate", src="a", dst="nobody", type=""),
        step("relate", src="a braces", dst="b", type=""),
        step("create", kind="k", id="a upper"),
        step("delete", id="b"),
        step("incident", id="a"),
        step("unrelate", id="r"),
        step("create", kind="k", id="b"),
        step("create", kind="k", id="b urn"),
    )
    assert found[3:8] == ["NOT_FOUND", "INVALID", "NOT_FOUND", "CONFLICT", "true"]
    assert found[8:10] == ["[]", "NOT_FOUND"] and json.loads(found[10])["version"] == 3 and found[11] == "INVALID"


def test_the_reference_tells_null_from_absent_and_refuses_what_is_no_value() -> None:
    given_ = {"labels": ["l"], "props": {"p": None}}
    found = told(
        step("create", **{"as": "a"}, kind="k", **given_),
        step("update", id="a", labels=None, props=None),
        step("update", id="a", labels=[], props={}),
        *(step("update", id="a", **bad) for bad in ({"kind": ""}, {"props": []}, {"props": {"n": float("inf")}})),
        *(step("update", id="nobody", **each) for each in ({"kind": ""}, {})),
        step("create", kind="k", props={"n": -0.0}),
    )
    assert [json.loads(each)["labels"] for each in found[:3]] == [["l"], ["l"], []]
    assert json.loads(found[1])["props"] == {"p": None} and json.loads(found[1])["updatedAt"] == "<later>"
    assert found[3:8] == ["INVALID", "INVALID", "INVALID", "INVALID", "NOT_FOUND"] and '"n": -0.0' in found[8]


def test_times_are_told_by_what_matters_of_them() -> None:
    now = datetime.now(UTC)
    stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    later = (now + timedelta(microseconds=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert times({"createdAt": stamp}) == {"createdAt": "<now>"}
    assert times({"createdAt": stamp, "updatedAt": later})["updatedAt"] == "<later>"
    assert times({"createdAt": later, "updatedAt": stamp})["updatedAt"] == "<earlier>"
    assert times({"createdAt": stamp, "updatedAt": stamp})["updatedAt"] == "<created>"
    zoned = (now + timedelta(hours=2)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert times({"createdAt": zoned}) == {"createdAt": "+2.0 h from now"}
    for bad in (stamp[:-1], stamp.replace("T", " "), stamp.replace("Z", "+00:00"), None, 1):
        assert times({"createdAt": bad})["createdAt"].startswith("no RFC 3339")


class Fixed(Session):
    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__()
        self.answers = list(answers)

    def answer(self, do: str, given: dict[str, Any]) -> Answer:
        return self.answers.pop(0)


def test_ids_in_capitals_and_numbers_of_another_type_differ() -> None:
    id_ = "0000000a-0000-4000-8000-00000000000b"
    plain = Fixed(
        [Answer({"id": id_}), Answer({"id": id_.upper()}), Answer({"n": 1}), Answer({"n": 1.0}), Answer(code="X")]
    )
    assert plain.run([step("read", id="a")] * 5)[0] == '{"id": "#1"}'
    found = Fixed([Answer({"id": id_.upper()}), Answer({"n": 1.0})]).run([step("read", id="a")] * 2)
    assert "#" not in found[0] and found[1] == '{"n": 1.0}'


def test_each_answer_is_compared_and_nothing_is_no_pass() -> None:
    asked = [step("create", kind="k"), step("delete", id="a")]
    good = ["{}", "NOT_FOUND"]
    assert judge_answers(asked, good, {"edge": good, "core": good}) == []
    assert len(judge_answers(asked, good, {"edge": ["{}", "CONFLICT"], "core": good})) == 1
    assert len(judge_answers(asked, good, {"edge": ["{}"], "core": good})) == 1
    for steps, places in (([], {"edge": good}), (asked, {})):
        with pytest.raises(Vacuous):
            judge_answers(steps, good, places)


class Forgetful(Reference):
    """Loses the labels of what is updated."""

    where = "edge"

    def update(self, *args: Any, **given: Any) -> dict[str, Any]:
        return {**super().update(*args, **given), "labels": []}


def test_a_difference_is_made_small() -> None:
    trial = Trial([Forgetful])  # type: ignore[list-item]
    long = (
        *(step("create", kind="<m>") for _ in range(5)),
        step("create", **{"as": "a"}, kind="<m>", labels=["l"]),
        step("update", id="a", kind="<m>x"),
        step("list", kind="<m>"),
    )
    assert trial.problems(long)
    assert [each.do for each in trial.smaller(long)] == ["create", "update"]
    assert Trial([Forgetful]).problems(long[:6]) == []  # type: ignore[list-item]


@settings(max_examples=30, deadline=None)
@given(sequences())
def test_every_generated_sequence_can_be_asked_and_answered(steps: tuple[Step, ...]) -> None:
    assert len(Reference().run(steps)) == len(steps)
    for each in steps:
        body = json.loads(request(each.do, {k: v for k, v in each.arguments.items() if k != "as"}))
        assert FIELDS[each.do][1] in body["query"]


def test_corners_meet_objects_and_refusals() -> None:
    for corner in corners():
        found = Reference().run(corner)
        assert any(each.startswith(("{", "[{")) for each in found) and len(found) == len(corner)
    assert b"1e400" in request("create", {"kind": "k", "props": {"n": float("inf")}})


# schedules


def ran(label: str, *at: datetime) -> Watched:
    effects = [
        {"id": f"{label}{n}", "props": {"step": "s"}, "createdAt": each.isoformat()} for n, each in enumerate(at)
    ]
    return Watched(label, label, effects=effects)  # type: ignore[arg-type]


def test_what_runs_early_is_told() -> None:
    due = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert judge_schedule([Scheduled(ran("a", due, due + timedelta(hours=9)), due), Scheduled(ran("b"), due)]) == []
    assert len(judge_schedule([Scheduled(ran("a", due - timedelta(seconds=1)), due)])) == 1
    with pytest.raises(Vacuous):
        judge_schedule([Scheduled(ran("b"), due)])


def test_the_parent_has_what_the_edge_has() -> None:
    run = ran("a", datetime.now(UTC))
    good = Arrived(run, run.effects, ["a0", "z"])
    assert judge_arrived([good, Arrived(ran("none"), [], [])]) == []
    for effects, events in (([], []), (run.effects * 2, ["a0"]), (run.effects, []), (run.effects, ["a0", "a0"])):
        assert judge_arrived([good, Arrived(run, effects, events)]), (effects, events)
    assert judge_arrived([Arrived(run, [{"id": "another"}], ["another"])])
    with pytest.raises(Vacuous):
        judge_arrived([Arrived(run, [], [])])

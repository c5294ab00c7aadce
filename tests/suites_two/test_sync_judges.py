"""The sync judges against mutant histories. (A famous checker of this kind never reported duplicates; these must.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from environments.contract import Vacuous
from suites.sync import judges
from suites.sync.history import History, Kind, Op, Outcome, Replica, expectations


def op(index: int, kind: Kind, key: str, value: int, outcome: Outcome = "ok", note: str = "") -> Op:
    return Op(index, kind, key, value, outcome, f"id-{key}" if outcome == "ok" else None, note=note)


def history() -> History:
    return History(
        1,
        [
            op(0, "create", "a", 1),
            op(1, "create", "b", 2),
            op(2, "update", "a", 3),
            op(3, "create", "c", 4, "unknown"),
            op(4, "create", "d", 5, "refused"),
            op(5, "relate", "r", 0, note="a>b"),
            op(6, "create", "e", 6),
            op(7, "delete", "e", 0),
        ],
    )


def doc(key: str, value: int, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{key}", "kind": "k", "labels": [], "version": 1, "props": {"key": key, "value": value}, **more}


def final() -> Replica:
    return Replica("parent", (doc("a", 3), doc("b", 2)), (doc("r", 0, srcId="id-a", dstId="id-b", type="T"),))


def with_entities(*entities: dict[str, Any]) -> Replica:
    return replace(final(), entities=entities)


def test_the_right_final_state_passes_with_and_without_the_unknown_write() -> None:
    for state in (final(), with_entities(doc("a", 3), doc("b", 2), doc("c", 4))):
        assert judges.judge_lost(history(), state) == []
        assert judges.judge_phantoms(history(), state) == []
        assert judges.judge_duplicates(history(), state) == []


@pytest.mark.parametrize(
    "state",
    [
        with_entities(doc("a", 3)),  # a creation lost
        with_entities(doc("a", 1), doc("b", 2)),  # an update lost
        with_entities(doc("a", 3), doc("b", 2), doc("e", 6)),  # a deletion lost
        replace(final(), relationships=()),  # a relationship lost
    ],
)
def test_losses_are_told(state: Replica) -> None:
    assert judges.judge_lost(history(), state)


@pytest.mark.parametrize(
    "state",
    [
        with_entities(doc("a", 3), doc("b", 2), doc("x", 1)),  # never written
        with_entities(doc("a", 3), doc("b", 2), doc("d", 5)),  # refused, and there all the same
        with_entities(doc("a", 3), {**doc("b", 2), "id": "other"}),  # under another id
        with_entities(doc("a", 3), doc("b", 99)),  # with a value that nobody wrote
        replace(final(), relationships=(doc("q", 0),)),
    ],
)
def test_phantoms_are_told(state: Replica) -> None:
    assert judges.judge_phantoms(history(), state)


def test_duplicates_are_told() -> None:
    assert judges.judge_duplicates(history(), with_entities(doc("a", 3), {**doc("a", 3), "id": "copy"}, doc("b", 2)))
    assert judges.judge_duplicates(history(), replace(final(), relationships=(doc("r", 0), doc("r", 0))))
    # an unknown write may be there once, never twice
    assert judges.judge_duplicates(history(), with_entities(doc("c", 4), {**doc("c", 4), "id": "copy"}))


def test_effects_are_counted() -> None:
    assert judges.judge_effects(history(), {"id-a": 2, "id-b": 1, "id-e": 2, "another": 9}) == []
    assert judges.judge_effects(history(), {"id-a": 3, "id-b": 1})
    with pytest.raises(Vacuous):
        judges.judge_effects(history(), {"another": 1})


def test_convergence() -> None:
    edge = replace(final(), name="edge")
    assert judges.judge_converged([edge, final()], 1.0, 2.0) == []
    assert judges.judge_converged([edge, final()], 3.0, 2.0)
    changed = with_entities(doc("a", 3, labels=["x"]), doc("b", 2))
    assert "id-a" in judges.judge_converged([edge, changed], 1.0, 2.0)[0]
    assert judges.judge_converged([edge, replace(final(), relationships=())], 1.0, 2.0)
    # the order in which a replica lists does not matter
    assert judges.judge_converged([edge, with_entities(doc("b", 2), doc("a", 3))], 1.0, 2.0) == []


def test_resumption() -> None:
    assert judges.judge_resumed(1, 5, 5, 1.0, 2.0) == []
    assert judges.judge_resumed(1, 4, 5, 9.0, 2.0)
    assert judges.judge_resumed(1, 5, 5, 3.0, 2.0)
    for arguments in ((5, 5, 5, 1.0, 2.0), (0, 0, 0, 0.0, 2.0)):
        with pytest.raises(Vacuous):
            judges.judge_resumed(*arguments)


@pytest.mark.parametrize(
    "judge", [judges.judge_lost, judges.judge_phantoms, judges.judge_duplicates], ids=lambda f: f.__name__
)
def test_without_an_acknowledged_write_nothing_is_shown(judge: Callable[[History, Replica], list[str]]) -> None:
    for empty in (History(1), History(1, [op(0, "create", "a", 1, "unknown")])):
        with pytest.raises(Vacuous):
            judge(empty, final())


def test_an_empty_parent_and_a_single_replica_are_vacuous() -> None:
    with pytest.raises(Vacuous):
        judges.judge_phantoms(history(), with_entities())
    with pytest.raises(Vacuous):
        judges.judge_effects(History(1), {})
    with pytest.raises(Vacuous):
        judges.judge_converged([final()], 0.0, 1.0)
    with pytest.raises(Vacuous):
        judges.judge_converged([Replica("edge", ()), Replica("parent", ())], 0.0, 1.0)


def test_unknown_operations_leave_both_ways_open() -> None:
    ops = [op(0, "create", "a", 1), op(1, "update", "a", 2, "unknown"), op(2, "delete", "a", 0, "unknown")]
    found = expectations(ops)["a"]
    assert (found.must_exist, found.may_exist, found.values) == (False, True, frozenset({1, 2}))


def test_history_replays_as_json_lines() -> None:
    lines = history().jsonl().splitlines()
    assert len(lines) == 9 and lines[0] == '{"seed": 1}'
    assert history().summary() == history().summary()

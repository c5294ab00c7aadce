"""The tether judges, and the policies that the checks publish."""

from __future__ import annotations

import pytest

from environments.contract import Vacuous
from suites.licensing.compact import join
from suites.tether import judges, policies
from suites.tether.judges import Served, Tried

CODES = frozenset({"POLICY_SIGNATURE"})
GOOD = Tried("x", CODES, "POLICY_SIGNATURE", 7, True, True)


@pytest.mark.parametrize(
    "mutant",
    [
        Tried("taken", CODES, "POLICY_SIGNATURE", 8, True, True),
        Tried("denial gone", CODES, "POLICY_SIGNATURE", 7, False, True),
        Tried("closed", CODES, "POLICY_SIGNATURE", 7, True, False),
        Tried("silent", CODES, None, 7, True, True),
        Tried("another reason", CODES, "POLICY_ROLLBACK", 7, True, True),
    ],
    ids=lambda t: t.name,
)
def test_updates(mutant: Tried) -> None:
    assert judges.judge_updates([GOOD], 7) == []
    assert judges.judge_updates([GOOD, mutant], 7)


def test_corpus() -> None:
    fine, broken = Served("read", ""), Served("read", "AssertionError: 503")
    assert judges.judge_corpus([fine], [fine, fine]) == []
    assert judges.judge_corpus([fine], [fine, broken])
    assert judges.judge_corpus([fine, Served("run", "x")], [fine])
    for before, during in (([], [fine]), ([broken], [fine]), ([fine], [])):
        with pytest.raises(Vacuous):
            judges.judge_corpus(before, during)


def test_last_known_good() -> None:
    enforced, revisions = {"before the cut": True, "cut": True}, {"published": 3, "after a restart": 3}
    assert judges.judge_last_known_good(enforced, revisions) == []
    assert judges.judge_last_known_good({**enforced, "after a restart": False}, revisions)
    assert judges.judge_last_known_good(enforced, {**revisions, "after a restart": 0})
    for vacuous in ({}, {"before the cut": False, "cut": True}):
        with pytest.raises(Vacuous):
            judges.judge_last_known_good(vacuous, revisions)


def test_no_update_is_vacuous() -> None:
    with pytest.raises(Vacuous):
        judges.judge_updates([], 7)


def test_policies_deny_what_is_marked_and_nothing_else() -> None:
    """By the engine itself, so that a typing mistake does not pass for a denial."""
    regopy = pytest.importorskip("regopy")

    def allows(modules: dict[str, str], action: str, role: str = "analyst") -> bool:
        engine = regopy.Interpreter()
        for name, source in modules.items():
            engine.add_module(name, source)
        engine.set_input(
            {"subject": {"sub": "s", "tenant": "t", "roles": [role]}, "action": action, "resource": {"tenant": "t"}}
        )
        return '"allow":true' in str(engine.query("allow = data.companyos.authz.allow")).replace(" ", "")

    assert allows(policies.modules(), policies.DENIED) and allows(policies.modules(), "entity.create")
    marked = policies.modules(policies.DENIED)
    assert not allows(marked, policies.DENIED) and allows(marked, "entity.create")
    assert not allows(marked, "entity.create", "viewer")


def test_tampering_keeps_the_form() -> None:
    text = join({"alg": "EdDSA"}, b'{"revision":1,"modules":{"a":"b"}}', bytes(64))
    changed = policies.tampered(text)
    assert changed != text and len(changed) == len(text) and changed.count(".") == 2
    assert policies.unsigned(text).endswith(".") and policies.unsigned(text).split(".")[1] == text.split(".")[1]

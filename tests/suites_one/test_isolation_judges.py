"""Judges of the isolation suite: each accepts a good history and rejects each mutant of it."""

from __future__ import annotations

import base64
import dataclasses
import gzip
from typing import Any

import pytest

from environments.contract import Vacuous
from suites.isolation import audit
from suites.isolation.matrix import ROWS, judge_coverage
from suites.isolation.pool import Operation, judge_interleaving
from suites.isolation.scan import found_in, judge_leaks
from suites.isolation.separation import judge_separation
from suites.isolation.test_indistinguishable import judge_same

TABLE = {
    "schema": "public",
    "name": "entities",
    "rls": True,
    "forced": True,
    "owner": "companyos_owner",
    "owned_by_role": False,
}
POLICY = {
    "schema": "public",
    "name": "entities",
    "policy": "tenant",
    "permissive": "PERMISSIVE",
    "qual": "(tenant_id = companyos_tenant())",
    "with_check": None,
    "cmd": "ALL",
}
ROLE = {"name": "companyos_app", "super": False, "bypass": False, "via_super": False, "via_bypass": False}
GRANT = {"schema": "public", "name": "entities", "truncate": False, "trigger": False}
OBJECT = {"schema": "public", "name": "leak"}

MUTANTS: list[tuple[audit.Judge, dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = [
    (audit.judge_rls_enabled, {**TABLE, "rls": False}, [], []),
    (audit.judge_rls_forced, {**TABLE, "forced": False}, [], []),
    (audit.judge_policy_present, TABLE, [POLICY], []),
    (audit.judge_policy_not_true, TABLE, [POLICY], [POLICY, {**POLICY, "policy": "all", "qual": "true"}]),
    (audit.judge_policy_not_true, TABLE, [POLICY], [{**POLICY, "with_check": "(true)"}]),
    (audit.judge_role_not_owner, {**TABLE, "owned_by_role": True}, [], []),
    (audit.judge_role_not_superuser, TABLE, [ROLE], [{**ROLE, "super": True}]),
    (audit.judge_role_not_superuser, TABLE, [ROLE], [{**ROLE, "via_super": True}]),
    (audit.judge_role_not_bypassrls, TABLE, [ROLE], [{**ROLE, "bypass": True}]),
    (audit.judge_role_not_bypassrls, TABLE, [ROLE], [{**ROLE, "via_bypass": True}]),
    (audit.judge_no_definer_view, TABLE, [], [OBJECT]),
    (audit.judge_no_definer_function, TABLE, [], [OBJECT]),
    (audit.judge_no_matview, TABLE, [], [OBJECT]),
    (audit.judge_no_bypassing_grant, TABLE, [GRANT], [{**GRANT, "truncate": True}]),
    (audit.judge_no_bypassing_grant, TABLE, [GRANT], [{**GRANT, "trigger": True}]),
]


@pytest.mark.parametrize(("judge", "table", "good", "bad"), MUTANTS, ids=lambda x: getattr(x, "__name__", ""))
def test_each_condition_of_the_catalogue_audit_rejects_its_mutant(
    judge: audit.Judge, table: dict[str, Any], good: list[dict[str, Any]], bad: list[dict[str, Any]]
) -> None:
    assert judge([TABLE], good) == []
    assert judge([table], bad)


def test_a_restrictive_policy_that_is_true_opens_nothing() -> None:
    restrictive = {**POLICY, "policy": "extra", "permissive": "RESTRICTIVE", "qual": "true"}
    assert audit.judge_policy_not_true([TABLE], [POLICY, restrictive]) == []


def test_every_condition_has_a_judge_in_the_audit() -> None:
    judges = {f for name, f in vars(audit).items() if name.startswith("judge_")}
    assert judges == set(audit.CONDITIONS)


CANARY = "canary-globex-0123456789abcdef"


@pytest.mark.parametrize(
    "body",
    [
        CANARY.encode(),
        CANARY.upper().encode(),
        CANARY.encode().hex().encode(),
        CANARY.encode("utf-16-le"),
        base64.b64encode(CANARY.encode()),
        base64.b64encode(b"x" + CANARY.encode() + b"tail"),
        base64.b64encode(b"xy" + CANARY.encode() + b"tail"),
        gzip.compress(b"before " + CANARY.encode(), mtime=0),  # the time would make another id in each worker
    ],
)
def test_a_canary_is_found_in_every_form(body: bytes) -> None:
    assert found_in(CANARY, body)
    assert found_in("canary-globex-ffffffffffffffff", body) is None


def test_a_leak_is_told_and_a_blind_scan_is_vacuous() -> None:
    marks = {"acme": "canary-acme-11", "globex": "canary-globex-22"}
    good = [("acme", "list", b"canary-acme-11"), ("globex", "list", b"canary-globex-22")]
    assert judge_leaks(marks, good) == []
    assert judge_leaks(marks, [*good, ("acme", "read", b"x canary-globex-22")])
    with pytest.raises(Vacuous):
        judge_leaks(marks, good[:1])


def _history(count: int = 5_000) -> list[Operation]:
    history = [Operation(("acme", "globex")[n % 2], "read", 200, True, None) for n in range(count)]
    return [*history, Operation("acme", "abort", None, False, None)]


@pytest.mark.parametrize(
    "mutant",
    [
        Operation("acme", "foreign", 200, True, "canary of globex"),
        Operation("acme", "read", 500, False, None),
        Operation("acme", "read", None, False, None),
    ],
)
def test_one_bad_operation_in_five_thousand_turns_the_interleaving_red(mutant: Operation) -> None:
    assert judge_interleaving(_history()) == []
    assert judge_interleaving([*_history(), mutant])


@pytest.mark.parametrize(
    "history",
    [
        _history(100),
        _history()[:-1],
        [dataclasses.replace(o, own_seen=False) for o in _history()],
        [o for o in _history(12_000) if o.tenant == "acme"],
    ],
)
def test_an_interleaving_that_shows_nothing_is_vacuous(history: list[Operation]) -> None:
    with pytest.raises(Vacuous):
        judge_interleaving(history)


def _instance(n: int) -> dict[str, list[str]]:
    return {
        "database system": [f"730{n}"],
        "data directory": [f"/data/{n}"],
        "signing key": [f"kid-{n}"],
        "address": [f"10.0.0.{n}"],
    }


def test_what_two_instances_share_is_named() -> None:
    good = {"one": _instance(1), "two": _instance(2)}
    assert judge_separation(good) == []
    for aspect in good["one"]:
        problems = judge_separation({**good, "two": {**good["two"], aspect: good["one"][aspect]}})
        assert len(problems) == 1 and aspect in problems[0]
    for broken in ({"one": _instance(1)}, {**good, "two": {**good["two"], "signing key": []}}):
        with pytest.raises(Vacuous):
            judge_separation(broken)


def test_pairs_that_differ_are_told() -> None:
    assert judge_same([("read", (200, b"null"), (200, b"null"))]) == []
    assert judge_same([("read", (403, b"no"), (404, b"no"))])


def test_an_object_type_or_operation_without_a_row_is_red() -> None:
    def type_of(*names: str) -> dict[str, Any]:
        return {"fields": [{"name": name} for name in names]}

    types = {row.object_type: type_of("id", "tenantId") for row in ROWS if row.object_type not in {"Event", "Export"}}
    assert judge_coverage(types, ["entity", "me"]) == []
    assert judge_coverage({**types, "Step": type_of("name")}, []) == []
    assert judge_coverage({**types, "Invoice": type_of("id", "tenantId")}, [])
    assert judge_coverage(types, ["entity", "exportEverything"])

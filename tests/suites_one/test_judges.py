"""Judges of the functional, security, operations and meta suites: good histories pass, each mutant is rejected."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest

from environments.contract import Calibration, Listener, Vacuous
from suites.functional.components import Observed, judge_components, marks_in
from suites.functional.corpus import declared, golden, judge_corpus, operations
from suites.functional.probes import CAPABILITIES, judge_claims
from suites.functional.subset import judge_subset, missing_operations
from suites.meta import coverage
from suites.meta.judges import judges, on_nothing
from suites.operations.readiness import Sample, judge_readiness
from suites.security.listeners import judge_listeners, judge_scan
from suites.security.secrets import findings, judge_files, judge_stock_credentials


def test_every_judge_of_every_suite_is_vacuous_on_nothing() -> None:
    """META-02, over all suites that are there."""
    found = judges()
    assert len(found) > 25
    said = {name: on_nothing(judge) for name, judge in found.items()}
    assert {n: a for n, a in said.items() if a not in {"vacuous", "refuses to judge"}} == {}


# functional


def test_golden_results_cover_the_corpus_and_differences_are_declared_for_known_modes() -> None:
    chosen = operations()
    assert {o["name"] for o in chosen} == set(golden())
    assert len(chosen) >= 25
    assert {m for o in chosen for m in (o.get("only") or {})} <= {"A", "B", "Ct", "Ca", "D"}
    assert all(entry["why"] for o in chosen for entry in (o.get("only") or {}).values())


def test_corpus_judge_rejects_each_kind_of_difference() -> None:
    expected = golden()
    assert judge_corpus(expected, expected, {}) == []
    for name in expected:
        found = copy.deepcopy(expected)
        found[name]["data"] = {"changed": True}
        assert judge_corpus(expected, found, {}), name
    assert judge_corpus({}, expected, {})


def test_a_declared_difference_must_be_as_declared() -> None:
    differing = declared(operations(), "D")
    refusal = {"status": 200, "data": None, "errors": [{"code": "UNSUPPORTED_IN_MODE", "path": None}]}
    found = {**golden(), **dict.fromkeys(differing, refusal)}
    assert differing and judge_corpus(golden(), found, differing) == []
    assert judge_corpus(golden(), golden(), differing), "an edge that does more than declared"
    crash = {**refusal, "status": 500}
    assert judge_corpus(golden(), {**found, next(iter(differing)): crash}, differing)


def _named(name: str, *, required: bool = False) -> dict[str, Any]:
    inner = {"kind": "SCALAR", "name": name, "ofType": None}
    return {"kind": "NON_NULL", "name": None, "ofType": inner} if required else inner


def _field(name: str, kind: str, required: bool = True, args: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"name": name, "type": _named(kind, required=required), "args": args or []}


def _schema() -> dict[str, Any]:
    argument = {"name": "id", "type": _named("ID", required=True), "defaultValue": None}
    query = {
        "kind": "OBJECT",
        "name": "Query",
        "fields": [_field("entity", "ID", args=[argument]), _field("all", "ID")],
    }
    entity = {"kind": "OBJECT", "name": "Entity", "fields": [_field("id", "ID"), _field("kind", "String")]}
    state = {"kind": "ENUM", "name": "State", "enumValues": [{"name": "ON"}, {"name": "OFF"}]}
    scalars = {name: {"kind": "SCALAR", "name": name} for name in ("ID", "String", "Int")}
    return {**scalars, "Query": query, "Entity": entity, "State": state}


def test_subset_judge_finds_every_way_out_of_the_subset() -> None:
    core, edge = _schema(), _schema()
    edge["Query"]["fields"] = edge["Query"]["fields"][:1]
    assert judge_subset(edge, core) == []
    whole = {"types": core, "query": "Query", "mutation": None}
    lacking = missing_operations({**whole, "types": edge}, whole)
    assert lacking == [("all", "query { all }")]

    def mutant(change: Any) -> dict[str, Any]:
        types = copy.deepcopy(edge)
        change(types)
        return types

    changes = [
        lambda t: t["Entity"]["fields"][1].update(type=_named("String")),  # nullable
        lambda t: t["Entity"]["fields"][1].update(type=_named("Int", required=True)),
        lambda t: t["Entity"]["fields"].append(_field("extra", "ID")),
        lambda t: t.update(Extra={"kind": "OBJECT", "name": "Extra", "fields": []}),
        lambda t: t["State"]["enumValues"].append({"name": "BROKEN"}),
        lambda t: t["Query"]["fields"][0]["args"].clear(),  # core requires it
        lambda t: t["Query"]["fields"][0]["args"][0].update(defaultValue="1"),
        lambda t: t["Entity"].update(kind="INTERFACE"),
    ]
    for change in changes:
        assert judge_subset(mutant(change), core)


def _edge_node(**changes: Any) -> Observed:
    claims = {name: {"present": True, "kind": "x"} for name in ("sqlite", "graph", "policy", "maestro")}
    claims |= {name: {"present": False, "kind": "none"} for name in ("postgres", "billing", "directory")}
    seen = Observed("D", claims, {"/v1/billing/usage": 404}, [4000], {}, 3, 4000, 1)
    return dataclasses.replace(seen, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": {"/v1/billing/usage": 401}},
        {"ports": [4000, 7687]},
        {"ports": [4000, 5432]},
        {"marks": {"node.json": ["sk_live_"]}},
        {"claims": {**_edge_node().claims, "billing": {"present": True, "kind": "stripe"}}},
        {"claims": {**_edge_node().claims, "graph": {"present": True, "kind": "neo4j"}}},
        {"claims": {**_edge_node().claims, "policy": {"present": False, "kind": "none"}}},
    ],
)
def test_component_judge_rejects_each_trace_of_a_foreign_component(changes: dict[str, Any]) -> None:
    assert judge_components(_edge_node()) == []
    assert judge_components(_edge_node(**changes))


@pytest.mark.parametrize(
    "blind", [{"ports": [4100]}, {"own_files": 0}, {"files_read": 0}, {"paths": {}}, {"claims": {}}]
)
def test_component_judge_passes_nothing_that_it_could_not_see(blind: dict[str, Any]) -> None:
    with pytest.raises(Vacuous):
        judge_components(_edge_node(**blind))


def test_marks_of_neo4j_matter_on_the_edge_alone() -> None:
    assert marks_in(b"graph: bolt://graph:7687", "D") and not marks_in(b"graph: bolt://graph:7687", "Ca")
    assert marks_in(b"key: sk_test_1", "Ca")


def test_claims_are_judged_both_ways() -> None:
    assert judge_claims({"graph": True}, {"graph": True, "billing": False}) == []
    for claimed, probed in (
        ({"graph": True}, {"graph": False}),
        ({"graph": True}, {"graph": True, "billing": True}),
        ({"graph": True, "telepathy": True}, {"graph": True}),
    ):
        assert judge_claims(claimed, probed)
    assert "inference" in CAPABILITIES


# security


def test_listener_judge_wants_found_and_declared_to_be_equal() -> None:
    declared_ports = [("10.0.0.1", 4000), ("127.0.0.1", 5432)]
    good = [Listener("tcp", "10.0.0.1", 4000, "data"), Listener("tcp", "127.0.0.1", 5432, "postgres")]
    assert judge_listeners(good, declared_ports) == []
    assert judge_listeners(good[:1], declared_ports)
    for extra in (
        Listener("tcp6", "::", 9229, "data"),
        Listener("tcp", "0.0.0.0", 5432),  # declared on loopback, found on all addresses
        Listener("udp", "10.0.0.1", 5353),
        Listener("tcp6", "::", 4000),
    ):
        assert judge_listeners([*good, extra], declared_ports), extra
    mapped = [Listener("tcp6", "::ffff:10.0.0.1", 4000), good[1]]
    assert judge_listeners(mapped, declared_ports) == []


def test_scan_judge_wants_the_declared_ports_open_and_no_other() -> None:
    assert judge_scan([("10.0.0.1", 4000)], [("10.0.0.1", 4000)]) == []
    assert judge_scan([("10.0.0.1", 4000), ("10.0.0.1", 22)], [("10.0.0.1", 4000)])
    assert judge_scan([("10.0.0.1", 4000)], [("10.0.0.1", 4000), ("10.0.0.1", 4100)])


def test_secrets_are_found_and_signed_documents_are_none() -> None:
    import base64

    def jws(header: dict[str, str]) -> bytes:
        head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
        return (
            head + b"." + base64.urlsafe_b64encode(b'{"sub":"admin","tenant":"acme"}').rstrip(b"=") + b"." + b"A" * 86
        )

    assert findings(jws({"alg": "EdDSA", "typ": "JWT"}))
    assert not findings(jws({"alg": "EdDSA", "typ": "companyos-licence"}))
    assert not findings(jws({"alg": "EdDSA", "typ": "companyos-export", "kid": "hJwTq"})), "a key id is no type"
    for secret in (
        b'{"hmac_key": "changeme"}',
        b"-----BEGIN PRIVATE KEY-----",
        b"sk_live_0000000000",
        b'"d": "' + b"x" * 43 + b'"',
    ):
        assert findings(secret), secret
    assert findings(b"login hunter22222", {"password": "hunter22222"}) == ["password"]
    assert not findings(b'{"password_policy": "min 12", "listen": "10.0.0.1"}')
    assert judge_files({"a": []}) == [] and judge_files({"a": ["key"]})


def test_stock_credentials_are_refused_or_red() -> None:
    assert judge_stock_credentials([("login", "admin:admin", 401)]) == []
    for status in (200, 500):
        assert judge_stock_credentials([("login", "admin:admin", status)])


# operations


def _samples() -> list[Sample]:
    return [
        Sample("before", "data", 200, 200, (), True),
        Sample("broken", "data", 200, 503, ("database",), False),
        Sample("after", "data", 200, 200, (), True),
    ]


@pytest.mark.parametrize(
    ("at", "changes"),
    [
        (1, {"ready": 200, "broken": ()}),  # always ready
        (1, {"alive": 503}),  # liveness depends on the database: the supervisor restarts for nothing
        (1, {"broken": ("policy",)}),  # names the wrong one
        (1, {"ready": None}),
        (2, {"ready": 503, "broken": ("database",)}),  # never heals
        (0, {"operation": False}),  # ready, and nothing works
    ],
)
def test_readiness_judge_rejects_each_lie(at: int, changes: dict[str, Any]) -> None:
    samples = _samples()
    assert judge_readiness(samples, "database") == []
    samples[at] = dataclasses.replace(samples[at], **changes)
    assert judge_readiness(samples, "database")


def test_readiness_is_vacuous_when_nothing_was_broken() -> None:
    working = _samples()
    working[1] = dataclasses.replace(working[1], operation=True)
    for history in (working, _samples()[:2], _samples()[1:]):
        with pytest.raises(Vacuous):
            judge_readiness(history, "database")


# meta


def test_kill_matrix_judge_wants_a_kill_and_a_clean_pass_for_each() -> None:
    matrix = {"clean": {"ISO-08": "pass"}, "kills": {"ISO-08": ["trusts_tenant_header"]}}
    assert coverage.judge_kill_matrix(matrix, ["ISO-08"]) == []
    assert coverage.judge_kill_matrix({**matrix, "clean": {"ISO-08": "fail"}}, ["ISO-08"])
    assert coverage.judge_kill_matrix(matrix, ["ISO-08", "ISO-09"])
    assert coverage.judge_kill_matrix({**matrix, "kills": {"ISO-08": []}}, ["ISO-08"])


def test_matrices_of_two_drivers_make_one() -> None:
    local = {"kills": {"ISO-08": ["a"]}, "clean": {"ISO-08": "pass", "SEC-01": "untestable", "SEC-02": "pass"}}
    containers = {"kills": {"ISO-08": ["b"], "SEC-01": ["c"]}, "clean": {"SEC-01": "pass", "SEC-02": "fail"}}
    for order in ([local, containers], [containers, local]):
        made = coverage.merged(order)
        assert {name: sorted(found) for name, found in made["kills"].items()} == {"ISO-08": ["a", "b"], "SEC-01": ["c"]}
        assert made["clean"] == {"ISO-08": "pass", "SEC-01": "pass", "SEC-02": "fail"}
    assert coverage.merged([local])["clean"]["SEC-01"] == "untestable"


def test_calibration_judge_believes_the_figures_rather_than_the_flag() -> None:
    row = Calibration("edge-1->saas", "rtt_s", 0.12, 0.121, 0.006, True, 200)
    assert coverage.judge_calibration([row]) == []
    assert coverage.judge_calibration([row, dataclasses.replace(row, ok=False)])
    assert coverage.judge_calibration([dataclasses.replace(row, measured=0.2)])
    with pytest.raises(Vacuous):
        coverage.judge_calibration([dataclasses.replace(row, samples=0)])


def test_canary_judge_wants_every_kind_planted_and_seen() -> None:
    kinds = {prefixes[0]: True for prefixes in coverage.CANARY_KINDS.values()}
    assert coverage.judge_canaries({"edge-1": kinds}) == []
    for kind in kinds:
        assert coverage.judge_canaries({"edge-1": {**kinds, kind: False}})
        without = {each: seen for each, seen in kinds.items() if not each.startswith(kind)}
        assert coverage.judge_canaries({"edge-1": without or {"other": True}})


def test_applicability_judge_wants_a_scope_for_each_id() -> None:
    entries, tests = coverage.catalogues(), coverage.bound()
    assert coverage.judge_applicability(entries, tests) == []
    name = "ISO-08"
    assert coverage.judge_applicability({**entries, name: {**entries[name], "modes": []}}, tests)
    assert coverage.judge_applicability({**entries, name: {**entries[name], "modes": ["Z"]}}, tests)
    assert coverage.judge_applicability({**entries, name: {**entries[name], "statement": ""}}, tests)
    assert coverage.judge_applicability(entries, {**tests, "ISO-99": ["test_nothing"]})

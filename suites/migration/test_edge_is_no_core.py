"""MIG-15: an edge node never becomes a core, and what it holds reaches the core by sync alone."""

from __future__ import annotations

from typing import Any

from environments.contract import Capability, Deployment, Evidence, Node, requirement
from suites.exchange import assert_refused, conclude, document, shown, signed_in, tenants
from suites.licensing.compact import canonical
from suites.migration.archive import pack
from suites.migration.judges import Offered, digest, judge_refused
from suites.migration.steps import new_mark, offer, state
from suites.product import create_entity, entity
from suites.waiting import wait_until

SYNC_S = 6.0


def _mode(node: Node) -> dict[str, Any]:
    answer = node.http().request("GET", node.url("data") + "/.well-known/companyos")
    found = document(answer)
    return {"mode": found["mode"], "variant": found["variant"], "node_id": found["node_id"]}


@requirement("MIG-15")
def test_promotion_is_refused(deployment: Deployment, evidence: Evidence) -> None:
    """The operator asks an edge to become a core, with force too: refused by name, and the node is what it was;
    export and import stay unsupported."""
    node = deployment.subject
    operator = node.login(node.user("operator"))
    assert operator.admin("GET", "/v1/policy").status == 200, "the operator cannot administer the node"
    before = _mode(node)
    for body in ({"to": "core"}, {"to": "core", "force": True}, {"to": "core", "licence": "none"}):
        answer = operator.admin("POST", "/v1/promote", json=body)
        evidence.add(f"promote {body}", shown(answer))
        assert_refused(answer, 409, "PROMOTION_REFUSED", f"promotion with {body}")
    tenant = tenants(node)[0]
    for what, answer in (
        ("export", signed_in(node, "admin", tenant).data("POST", "/v1/export")),
        ("backup", signed_in(node, "admin", tenant).data("POST", "/v1/export?kind=backup")),
        ("import", operator.data("POST", "/v1/import", body=b"")),
    ):
        evidence.add(what, shown(answer))
        assert_refused(answer, None, "UNSUPPORTED_IN_MODE", f"{what} on an edge")
    after = _mode(node)
    problems = [] if after == before and before["mode"] == "D" else [f"discovery: {before} -> {after}"]
    conclude(evidence, problems, "PROMOTION_REFUSED, still an edge", "refused; still mode D")


@requirement("MIG-15", needs=(Capability.VENDOR_KEYS,))
def test_core_refuses_an_edge_archive(deployment: Deployment, evidence: Evidence) -> None:
    """An archive that says it comes from an edge, genuinely signed, is offered to the parent: refused for its
    source, and nothing changes. The same data written at the edge arrives by sync."""
    node, parent = deployment.subject, deployment.parent
    assert parent is not None, "an edge has a parent"
    tenant = tenants(node)[0]
    mark = new_mark()
    made = create_entity(signed_in(node, "admin", tenant), mark, {"mark": mark})
    above = signed_in(parent, "admin", tenant)
    took_s = wait_until(lambda: entity(above, made["id"]) is not None, SYNC_S)
    assert took_s <= SYNC_S, f"the edge's data did not reach the core by sync in {SYNC_S:g} s"
    offers = []
    for kind in ("tenant", "backup"):
        archive = _edge_archive(deployment, kind, tenant, mark)
        before = state(parent, tenant, deployment)
        answer = offer(parent, archive)
        evidence.add(f"{kind} archive", shown(answer))
        after, what = state(parent, tenant, deployment), f"a {kind} archive from an edge"
        offers.append(Offered(what, "IMPORT_SOURCE_MODE", answer.status, answer.error_code, before, after))
    problems = judge_refused(offers)
    conclude(evidence, problems, "IMPORT_SOURCE_MODE, nothing changed", "refused; by sync the data arrived")


def _edge_archive(deployment: Deployment, kind: str, tenant: str, mark: str) -> bytes:
    """What an edge's backup would be if it could make one: whole, correct and signed."""
    node, parent = deployment.subject, deployment.parent
    assert parent is not None
    discovered = document(parent.http().request("GET", parent.url("data") + "/.well-known/companyos"))
    now = "2026-01-02T03:04:05.000000Z"
    row = {
        "id": "7b5c7f0e-5b1f-4a52-9a3d-2f5d3a1c9e01",
        "tenantId": tenant,
        "kind": "restored-from-edge",
        "labels": [],
        "props": {"mark": mark},
        "createdAt": now,
        "updatedAt": now,
        "createdBy": "admin",
        "version": 1,
    }
    empty = {type_: digest(type_, []) for type_ in ("relationship", "investigation")}
    manifest = {
        "format": "companyos-export",
        "kind": kind,
        "product_version": parent.version,
        "schema_version": discovered["schema_version"],
        "source": {"node_id": node.node_id, "mode": "D"},
        "tenant": tenant,
        "counts": {"entity": 1, "relationship": 0, "investigation": 0},
        "digests": {"entity": digest("entity", [row]), **empty},
    }
    members = {"entity.jsonl": canonical(row) + b"\n", "relationship.jsonl": b"", "investigation.jsonl": b""}
    return pack("manifest.jws", deployment.vendor.sign("export", manifest), members)

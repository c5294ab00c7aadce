"""FUN-11: the node says from outside what it is, and each thing it says is so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from environments.contract import Deployment, Evidence, Node, requirement
from suites.exchange import conclude, document, shown, signed_in
from suites.functional.probes import CAPABILITIES, COMPONENTS, Probing, judge_claims, limits_hold, results

SCHEMA = json.loads((Path(__file__).parent / "discovery.schema.json").read_text())


def _discovery(node: Node) -> dict[str, Any]:
    answer = node.http().request("GET", node.url("data") + "/.well-known/companyos")
    assert answer.status == 200, f"discovery is not served without a token: {shown(answer)}"
    return document(answer)


@requirement("FUN-11")
def test_discovery_has_the_contracts_shape_and_facts(deployment: Deployment, evidence: Evidence) -> None:
    """The document validates against the schema, and mode, version and ports are those of the deployment."""
    node = deployment.subject
    found = _discovery(node)
    evidence.add("discovery", found)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    problems = [
        f"{'/'.join(map(str, e.absolute_path)) or 'document'}: {e.message}" for e in validator.iter_errors(found)
    ]
    facts = {"mode": node.mode.value, "variant": node.variant, "node_id": node.node_id, "version": node.version}
    problems += [f"{k} is {found.get(k)}, deployed was {v}" for k, v in facts.items() if found.get(k) != v]
    claimed = {int(port["port"]) for port in found.get("ports", [])}
    declared = {port for _, port in node.declared_ports}
    problems += [f"ports {sorted(claimed)} claimed, {sorted(declared)} deployed"] if not declared <= claimed else []
    conclude(evidence, problems, "schema valid, facts as deployed", f"valid; {facts}")


@requirement("FUN-11")
def test_each_claim_of_discovery_is_true(deployment: Deployment, evidence: Evidence) -> None:
    """Every claimed capability, component and limit passes its probe, and none that works is left out."""
    node = deployment.subject
    found = _discovery(node)
    viewer, analyst, admin = (signed_in(node, role) for role in ("viewer", "analyst", "admin"))
    probing = Probing(node, viewer, analyst, admin, node.login(node.user("operator")))
    capabilities, components = results(probing, CAPABILITIES), results(probing, COMPONENTS)
    evidence.add("claimed", {"capabilities": found["capabilities"], "components": found["components"]})
    evidence.add("probed", {"capabilities": capabilities, "components": components})
    problems = judge_claims(dict.fromkeys(found["capabilities"], True), capabilities)
    problems += judge_claims({name: bool(c["present"]) for name, c in found["components"].items()}, components)
    problems += limits_hold(probing, found["limits"])
    conclude(
        evidence,
        problems,
        "claims = probes",
        f"{len(capabilities)} capabilities and {len(components)} components probed",
    )

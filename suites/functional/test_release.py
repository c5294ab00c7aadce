"""FUN-02: every node of every mode runs the artifacts of one release, and says so truly."""

from __future__ import annotations

import pytest

from environments.contract import Artifact, Capability, Deployment, Evidence, Node, requirement
from suites.exchange import conclude, document, shown
from suites.functional.release import POLICY, artifacts, file_digest, judge_release, tree_digest, verified


def _reported(node: Node) -> list[Artifact]:
    answer = node.http().request("GET", node.url("data") + "/version")
    assert answer.status == 200, f"{node.name} does not tell its version: {shown(answer)}"
    return artifacts(document(answer).get("artifacts"))


def _observed(deployment: Deployment, node: Node) -> dict[str, list[Artifact]]:
    """place -> artifacts found there: each process's code and policy, each model."""
    found: dict[str, list[Artifact]] = {}
    for service, root in deployment.release.payloads(node.name).items():
        digest = tree_digest(root)
        assert digest is not None, f"{node.name}: no file of {service}'s code is to be found at {root}"
        policy = Artifact("policy", "authz", file_digest(root / POLICY))
        found[f"{node.name}/{service}"] = [Artifact("payload", "companyos", digest), policy]
    for name, path in deployment.release.models(node.name).items():
        found[f"{node.name}/{name}"] = [Artifact("model", name, file_digest(path))]
    return found


@requirement("FUN-02", needs=(Capability.FILE_ACCESS, Capability.VENDOR_KEYS))
def test_every_node_runs_what_the_release_lists(deployment: Deployment, evidence: Evidence) -> None:
    """The vendor signed the manifest; what each node reports and what its processes run are the artifacts in it."""
    key = deployment.vendor.public_jwk()
    manifest = verified(deployment.release.manifest, key)
    forged = deployment.vendor.sign("release", {"artifacts": []}, key="stranger")
    with pytest.raises(AssertionError, match="not signed by the vendor"):
        verified(forged, key)
    reported = {name: _reported(node) for name, node in deployment.nodes.items()}
    observed: dict[str, list[Artifact]] = {}
    for node in deployment.nodes.values():
        observed |= _observed(deployment, node)
    evidence.add("manifest", [vars(each) for each in manifest])
    evidence.add("reported", {name: [vars(each) for each in here] for name, here in reported.items()})
    evidence.add("observed", {name: [vars(each) for each in here] for name, here in observed.items()})
    conclude(
        evidence,
        judge_release(manifest, reported, observed),
        "reported = running = released",
        f"{len(reported)} nodes and {len(observed)} processes run the {len(manifest)} artifacts of the release",
    )

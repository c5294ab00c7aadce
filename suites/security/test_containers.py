"""SEC-02: the containers of a node can do nothing to the host, and little to themselves."""

from __future__ import annotations

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, signed_in
from suites.functional.release import verified
from suites.product import create_entity, entity
from suites.security.containers import judge_containers


@requirement("SEC-02", needs=(Capability.CONTAINERS, Capability.VENDOR_KEYS))
def test_containers_run_without_privileges_from_pinned_images(deployment: Deployment, evidence: Evidence) -> None:
    """Every container in the site of the node is non-root, read-only, without capabilities or the host's namespaces,
    and of an image of the release, as the engine has it and as the kernel has it; and the node works."""
    node = deployment.subject
    client = signed_in(node)
    made = create_entity(client, "hardening")
    assert entity(client, made["id"]) is not None, "the node does not work: the control of this check"
    manifest = verified(deployment.release.manifest, deployment.vendor.public_jwk())
    released = [each.digest for each in manifest if each.kind == "image"]
    containers = node.containers()
    processes = sum(len(each.processes) for each in containers)
    evidence.add("containers", [_told(each) for each in containers])
    evidence.add("released", released)
    conclude(
        evidence,
        judge_containers(containers, list(node.services), released),
        "non-root, read-only, no capability, no namespace of the host, pinned by digest",
        f"{len(containers)} containers with {processes} processes, all so",
    )


def _told(facts: object) -> dict[str, object]:
    """As JSON can hold it."""
    from dataclasses import asdict

    found = asdict(facts)  # type: ignore[call-overload]
    for process in found["processes"]:
        process["own_namespaces"] = sorted(process["own_namespaces"])
        process["capabilities"] = {name: f"{bits:x}" for name, bits in process["capabilities"].items()}
    return dict(found)

"""AIR-11: versions only rise, unless the vendor signed the way back; a kill does not forget how far they rose."""

from __future__ import annotations

from typing import Any

from environments.contract import Capability, Deployment, Evidence, Node, requirement
from suites.airgap.judges import Applied, judge_ladder
from suites.airgap.steps import admin_service, applied, apply, apply_good, next_version, operator, version_of
from suites.airgap.vectors import good
from suites.exchange import conclude, healed_after


@requirement("AIR-11", needs=(Capability.VENDOR_KEYS, Capability.PROCESS_CONTROL))
def test_lower_versions_are_refused_across_a_kill(deployment: Deployment, evidence: Evidence) -> None:
    """Version .10 is applied, then .9, before and after kill -9: refused, though .9 sorts above .10 as text. A
    rollback that the vendor signed for exactly this version is taken."""
    node = deployment.subject
    client = operator(node)
    start = apply_good(deployment, client)
    major, minor, _ = version_of(start)
    high, low, lowest = f"{major}.{minor}.10", f"{major}.{minor}.9", f"{major}.{minor - 1}.99"
    steps: list[Applied] = []

    def offer(step: str, version: str, allowed: bool, rollback_to: str | None = None) -> None:
        asker = operator(node)
        more: dict[str, Any] = {} if rollback_to is None else {"allow_rollback_to": rollback_to}
        answer = apply(asker, good(deployment.vendor, version, **more))
        steps.append(Applied(step, version, allowed, answer.status, answer.error_code, str(applied(asker)["version"])))

    with healed_after(deployment):
        offer("up", high, True)
        offer("down by a patch", low, False)
        offer("down by a minor", lowest, False)
        _kill_and_start(node)
        offer("down after a kill", low, False)
        offer("down, a rollback signed for another version", low, False, lowest)
        offer("down, with a signed rollback", low, True, low)
        _kill_and_start(node)
        offer("down again after a kill", lowest, False)
        offer("up again", f"{major}.{minor}.11", True)
    evidence.add("steps", [[s.step, s.offered, s.status, s.code, s.current] for s in steps])
    problems = judge_ladder(steps, start)
    apply_good(deployment, operator(node), next_version(operator(node)))
    conclude(evidence, problems, "BUNDLE_ROLLBACK for every lower version", f"{len(steps)} steps as the rule says")


def _kill_and_start(node: Node) -> None:
    service = admin_service(node)
    node.kill(service)
    node.start(service)
    node.wait_ready()

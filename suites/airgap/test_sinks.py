"""AIR-02, AIR-04: whether what is outside is silent, refuses or answers, to a sealed node there is nothing."""

from __future__ import annotations

import time
from typing import Any

from environments.contract import Capability, Deployment, Evidence, Node, SuiteError, TransportError, requirement
from suites.airgap.judges import Boot, Phase, describe, judge_boots, judge_canaries, judge_unmoved
from suites.airgap.phases import KINDS, boot, error_paths, steady
from suites.airgap.steps import applied, operator, restart
from suites.exchange import conclude, document, healed_after, probe
from suites.licensing.compact import payload_of
from suites.licensing.steps import installed

GRACE_S = 5.0  # a boot is watched for so much longer than it may take, so that how late it is can be told
ANYWHERE = "http://198.51.100.7/anything"  # TEST-NET-2: nobody's


@requirement("AIR-02", needs=(Capability.EGRESS_LEDGER, Capability.PROCESS_CONTROL))
def test_ready_in_time_whether_outside_is_silent_or_refuses(deployment: Deployment, evidence: Evidence) -> None:
    """The node is restarted under drop and under reject: ready within its limit, steady work, and no attempt at all."""
    node, limit_s = deployment.subject, deployment.ready_limit_s[deployment.subject.name]
    boots = []
    with healed_after(deployment):
        for answer in ("drop", "reject"):
            deployment.egress.mode(answer)
            judge_canaries(deployment.egress.plant(node.site), KINDS)
            since_s = time.time()
            try:
                ready_s: float | None = restart(node, limit_s=limit_s + GRACE_S)
                done = steady(deployment, node)
            except TimeoutError:
                ready_s, done = None, 0
            boots.append(Boot(answer, ready_s, done, tuple(deployment.egress.attempts(node.site, since_s))))
    evidence.add("ready_s", {boot.answer: boot.ready_s for boot in boots})
    problems = judge_boots(boots, limit_s)
    observed = ", ".join(f"{boot.answer}: {boot.ready_s} s" for boot in boots)
    conclude(evidence, problems, f"ready within {limit_s:g} s under both, no attempt", observed)


@requirement("AIR-04", needs=(Capability.EGRESS_LEDGER, Capability.PROCESS_CONTROL))
def test_nothing_is_accepted_from_a_stranger(deployment: Deployment, evidence: Evidence) -> None:
    """Every name resolves, every address accepts, TLS has the right name and a CA nobody trusts, time is years ahead.
    After a boot and work under that, and some more without it, version, licence, policy and clock are as before, and no
    stranger was trusted."""
    node = deployment.subject
    before = _state(node)
    with healed_after(deployment):
        deployment.egress.mode("answer")
        judge_canaries(deployment.egress.plant(node.site), KINDS)
        _prove_it_answers(node)
        since_s = time.time()
        phases = []
        for name, act in (("boot", boot), ("steady state", steady), ("error paths", error_paths)):
            start_s = time.time()
            count = act(deployment, node)
            phases.append(Phase(name, start_s, time.time(), count))
        off_s = _clock_off_s(node)
        deployment.egress.mode("drop")  # what was taken is kept when the stranger is gone
        start_s, count = time.time(), steady(deployment, node)
        phases.append(Phase("afterwards", start_s, time.time(), count))
        after = _state(node)
        rows = deployment.egress.ledger(node.site, since_s)
    evidence.add("state", {"before": before, "after": after})
    evidence.add("clock off by", round(off_s, 1))
    evidence.add("rows", [describe(row) for row in rows[:50]])
    problems = judge_unmoved(before, after, off_s, phases, rows)
    conclude(
        evidence,
        problems,
        "nothing accepted",
        f"{sorted(before)} and the clock unmoved, {len(rows)} rows, none trusted",
    )


def _prove_it_answers(node: Node) -> None:
    """A sentinel that does not answer would prove nothing."""
    answer = probe(node, "GET", ANYWHERE, timeout_s=20.0)
    if isinstance(answer, TransportError) or answer.status != 200:
        raise SuiteError(f"the answering sentinel does not answer {ANYWHERE}: {answer}")


def _state(node: Node) -> dict[str, Any]:
    """What an update, a licence or a policy from elsewhere would change."""
    client = operator(node)
    state = {"bundle": applied(client), "licence": installed(client), "version": node.version}
    policy = client.admin("GET", "/v1/policy")
    if policy.status == 200:
        said = document(policy)
        state["policy"] = {key: said.get(key) for key in ("revision", "digest")}
    found = node.http().request("GET", node.url("data") + "/.well-known/companyos")
    state["discovery"] = {
        key: document(found).get(key) for key in ("version", "versions", "components", "capabilities")
    }
    return state


def _clock_off_s(node: Node) -> float:
    """How far the node's clock is from ours, by a token that it issues now."""
    issued = payload_of(str(operator(node).token)).get("iat")
    if not isinstance(issued, int | float):
        raise SuiteError(f"{node.name}: its tokens do not say when they were issued")
    return float(issued) - time.time()

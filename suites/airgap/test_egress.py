"""AIR-01, AIR-03: a sealed node tries to reach nobody, by no protocol, in no phase of its life."""

from __future__ import annotations

import time
from collections.abc import Callable

from environments.contract import Capability, Deployment, Evidence, Node, requirement
from suites.airgap.judges import Phase, describe, judge_canaries, judge_silence
from suites.airgap.phases import KINDS, boot, error_paths, steady
from suites.airgap.steps import apply, apply_good, next_version, operator, restart
from suites.airgap.vectors import unsigned
from suites.exchange import conclude, healed_after
from suites.licensing.steps import install_good, present
from suites.licensing.vectors import keys

PROXY = "http://198.51.100.77:3128"  # TEST-NET-2: nobody's proxy
PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
PROXY_ENV = dict.fromkeys(PROXY_NAMES, PROXY)


def bundles(deployment: Deployment, node: Node) -> int:
    client = operator(node)
    apply_good(deployment, client)
    return 1 + len([apply(client, each.body) for each in unsigned(deployment.vendor, next_version(client))])


def licences(deployment: Deployment, node: Node) -> int:
    """Installed, refused, expired under the node's own clock where it can be set."""
    client = operator(node)
    install_good(deployment, node, client)
    count = 1 + len([present(client, each.body) for each in keys(deployment.vendor, node)])
    if Capability.CLOCK_CONTROL in deployment.capabilities:
        deployment.clock.freeze(node.name, time.time() + 10 * 365 * 86_400)
        late = operator(node)
        count += late.admin("GET", "/v1/licence").status == 200
        deployment.clock.release(node.name)
        install_good(deployment, node, operator(node))  # the one before has been seen to expire
    return count


PHASES: tuple[tuple[str, Callable[[Deployment, Node], int]], ...] = (
    ("boot", boot),
    ("steady state", steady),
    ("error paths", error_paths),
    ("bundle", bundles),
    ("licence", licences),
)


def _live_through(deployment: Deployment, node: Node) -> list[Phase]:
    phases = []
    for name, act in PHASES:
        start_s = time.time()
        count = act(deployment, node)
        phases.append(Phase(name, start_s, time.time(), count))
    return phases


@requirement("AIR-01", needs=(Capability.EGRESS_LEDGER, Capability.PROCESS_CONTROL, Capability.VENDOR_KEYS))
def test_no_egress_attempt_in_any_phase(deployment: Deployment, evidence: Evidence) -> None:
    """Boot, steady state, error paths, bundles and licences under an egress that is sunk: the ledger stays empty,
    and it saw its canaries before and after."""
    node = deployment.subject
    with healed_after(deployment):
        before = deployment.egress.plant(node.site)
        since_s = time.time()
        phases = _live_through(deployment, node)
        attempts = deployment.egress.attempts(node.site, since_s)
        ledger = deployment.egress.ledger(node.site, since_s)
        after = deployment.egress.plant(node.site)
    for canaries in (before, after):
        judge_canaries(canaries, KINDS)
    evidence.add("canaries", {"before": dict(before), "after": dict(after)})
    evidence.add("phases", [[p.name, round(p.end_s - p.start_s, 3), p.observations] for p in phases])
    evidence.add("attempts", [describe(a) for a in attempts[:50]])
    evidence.add("not counted", [describe(a) for a in ledger if not a.counts][:50])
    conclude(
        evidence, judge_silence(phases, attempts), "no attempt", f"no attempt in {len(phases)} phases; canaries seen"
    )


@requirement("AIR-03", needs=(Capability.EGRESS_LEDGER, Capability.PROCESS_CONTROL, Capability.VENDOR_KEYS))
def test_no_protocol_leaves_even_with_proxies_set(deployment: Deployment, evidence: Evidence) -> None:
    """The node is restarted with proxy variables set, the sentinel answering by rejection: no attempt by any
    protocol that the canaries prove the ledger sees, by name or by raw address, and none to the proxy."""
    node = deployment.subject
    phases: list[Phase] = []
    with healed_after(deployment):
        canaries = deployment.egress.plant(node.site)
        deployment.egress.mode("reject")
        judge_canaries(canaries, KINDS)
        since_s = time.time()
        acts = (("boot with proxies", _boot_with_proxies), ("steady state", steady), ("error paths", error_paths))
        for name, act in acts:
            start_s = time.time()
            count = act(deployment, node)
            phases.append(Phase(name, start_s, time.time(), count))
        attempts = deployment.egress.attempts(node.site, since_s)
        deployment.egress.mode("drop")
        judge_canaries(deployment.egress.plant(node.site), KINDS)
    by_protocol: dict[str, int] = {}
    for attempt in attempts:
        key = f"{attempt.service or attempt.protocol}/v{attempt.ip_version}"
        by_protocol[key] = by_protocol.get(key, 0) + 1
    evidence.add("canaries", dict(canaries))
    evidence.add("attempts by protocol", by_protocol)
    observed = f"none; canaries of {len(canaries)} kinds seen"
    conclude(evidence, judge_silence(phases, attempts), "no attempt by any protocol", observed)


def _boot_with_proxies(deployment: Deployment, node: Node) -> int:
    restart(node, env=PROXY_ENV)
    return 1

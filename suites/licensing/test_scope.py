"""LIC-01, LIC-07: a licence is for one product, mode, customer and instance, and needs nobody outside to say so."""

from __future__ import annotations

import time

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, healed_after, shown
from suites.licensing.judges import Answered, judge_distinct, judge_refusals, judge_silence, judge_unchanged
from suites.licensing.steps import install_good, installed, operator, present
from suites.licensing.vectors import wrong_claims

ACTIVATION_S = 2.0  # local work of milliseconds; a call home into a silent drop takes longer


@requirement("LIC-01", needs=(Capability.VENDOR_KEYS, Capability.EGRESS_LEDGER))
def test_licence_activates_with_all_egress_sunk(deployment: Deployment, evidence: Evidence) -> None:
    """Every way out drops or rejects: a genuine licence is accepted at once, survives a restart, and nobody is
    asked."""
    node = deployment.subject
    service = "edge" if "edge" in node.services else "control" if "control" in node.services else "data"
    with healed_after(deployment):
        canaries = deployment.egress.plant(node.site)
        since_s = time.time()
        problems: list[str] = []
        for answer in ("drop", "reject"):
            deployment.egress.mode(answer)
            client = operator(node)
            started = time.monotonic()
            found = install_good(deployment, node, client)
            took_s = time.monotonic() - started
            evidence.add(f"{answer}: seconds to activate", round(took_s, 3))
            if took_s > ACTIVATION_S:
                problems.append(f"{answer}: activation took {took_s:.1f} s, more than {ACTIVATION_S:g} s")
            if Capability.PROCESS_CONTROL in deployment.capabilities:
                node.kill(service)
                node.start(service)
                node.wait_ready()
                problems += judge_unchanged(found, installed(operator(node)), f"{answer}: the licence after a restart")
        attempts = deployment.egress.attempts(node.site, since_s)
        again = deployment.egress.plant(node.site)
        seen = {**canaries, **{f"{kind} (after)": yes for kind, yes in again.items()}}
        problems += judge_silence(seen, attempts)
    evidence.add("canaries", dict(canaries))
    conclude(evidence, problems, "valid at once, no egress attempt", "valid under drop and reject; no attempt")


@requirement("LIC-07", needs=(Capability.VENDOR_KEYS,))
def test_each_wrong_scope_has_its_own_reason(deployment: Deployment, evidence: Evidence) -> None:
    """Genuine licences for another audience, product, mode, customer or instance: refused, and the reason says
    which."""
    node, client = deployment.subject, operator(deployment.subject)
    before = install_good(deployment, node, client)
    answers: list[Answered] = []
    codes: dict[str, set[str | None]] = {}
    for claim, each in wrong_claims(deployment.vendor, node):
        answer = present(client, each.body)
        answers.append(Answered(each.name, each.codes, answer.status, answer.error_code))
        codes.setdefault(claim, set()).add(answer.error_code)
        evidence.add(each.name, shown(answer, 200))
    problems = judge_refusals(answers) + judge_distinct(codes)
    problems += judge_unchanged(before, installed(client), "the installed licence")
    told = sorted({str(code) for seen in codes.values() for code in seen})
    conclude(evidence, problems, "422 with a code of its own per claim", f"{len(answers)} refused: {', '.join(told)}")

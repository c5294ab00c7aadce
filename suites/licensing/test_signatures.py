"""LIC-02, LIC-03, LIC-04: what is not exactly what the vendor signed is not a licence."""

from __future__ import annotations

import time

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude
from suites.licensing.compact import payload_of
from suites.licensing.judges import judge_refusals, judge_silence, judge_unchanged
from suites.licensing.steps import install_good, installed, operator, present_all
from suites.licensing.vectors import algorithms, bit_flips, field_changes, keys

REFUSED = "every vector refused with 422 and the code of its fault; the installed licence unchanged"


@requirement("LIC-02", needs=(Capability.VENDOR_KEYS,))
def test_no_single_bit_may_change(deployment: Deployment, evidence: Evidence) -> None:
    """One bit of a genuine licence is flipped, for every byte of it: each is refused, the installed licence stays."""
    node, client = deployment.subject, operator(deployment.subject)
    before = install_good(deployment, node, client)
    genuine = deployment.vendor.sign("licence", deployment.vendor.licence_claims(node))
    answers = present_all(client, bit_flips(genuine, deployment.seed))
    problems = judge_refusals(answers) + judge_unchanged(before, installed(client), "the installed licence")
    evidence.add("vectors", len(answers))
    evidence.add("codes", {str(code): sum(a.code == code for a in answers) for code in {a.code for a in answers}})
    conclude(evidence, problems, REFUSED, f"{len(answers)} flips refused")


@requirement("LIC-02", needs=(Capability.VENDOR_KEYS,))
def test_no_field_may_change_under_a_genuine_signature(deployment: Deployment, evidence: Evidence) -> None:
    """Each claim is rewritten under the genuine header and signature: each is refused for its signature."""
    node, client = deployment.subject, operator(deployment.subject)
    before = install_good(deployment, node, client)
    genuine = deployment.vendor.sign("licence", deployment.vendor.licence_claims(node))
    answers = present_all(client, field_changes(genuine, payload_of(genuine)))
    problems = judge_refusals(answers) + judge_unchanged(before, installed(client), "the installed licence")
    evidence.add("vectors", [a.name for a in answers])
    conclude(evidence, problems, REFUSED, f"{len(answers)} rewritten claims refused")


@requirement("LIC-03", needs=(Capability.VENDOR_KEYS,))
def test_algorithm_is_fixed_by_the_verifier(deployment: Deployment, evidence: Evidence) -> None:
    """The header names none, HS256 keyed with the public key, or any other algorithm: refused, whatever is signed."""
    node, client = deployment.subject, operator(deployment.subject)
    before = install_good(deployment, node, client)
    answers = present_all(client, algorithms(deployment.vendor, node))
    problems = judge_refusals(answers) + judge_unchanged(before, installed(client), "the installed licence")
    evidence.add("answers", {a.name: f"{a.status} {a.code}" for a in answers})
    conclude(evidence, problems, REFUSED, f"{len(answers)} vectors refused")


@requirement("LIC-04", needs=(Capability.VENDOR_KEYS,))
def test_keys_come_only_from_the_trust_root(deployment: Deployment, evidence: Evidence) -> None:
    """A licence signed by a stranger brings or names the stranger's key in every way a header can: refused."""
    node, client = deployment.subject, operator(deployment.subject)
    before = install_good(deployment, node, client)
    answers = present_all(client, keys(deployment.vendor, node))
    problems = judge_refusals(answers) + judge_unchanged(before, installed(client), "the installed licence")
    evidence.add("answers", {a.name: f"{a.status} {a.code}" for a in answers})
    conclude(evidence, problems, REFUSED, f"{len(answers)} vectors refused")


@requirement("LIC-04", needs=(Capability.VENDOR_KEYS, Capability.EGRESS_LEDGER))
def test_no_key_is_fetched(deployment: Deployment, evidence: Evidence) -> None:
    """jku, x5u and kid point to addresses outside: refused, and nobody tried to go there."""
    node, client = deployment.subject, operator(deployment.subject)
    install_good(deployment, node, client)
    canaries = deployment.egress.plant(node.site)
    since_s = time.time()
    answers = present_all(client, keys(deployment.vendor, node))
    attempts = deployment.egress.attempts(node.site, since_s)
    evidence.add("canaries", dict(canaries))
    problems = judge_refusals(answers) + judge_silence(canaries, attempts)
    conclude(evidence, problems, "refused, and no egress attempt", f"{len(answers)} refused, no attempt; canaries seen")

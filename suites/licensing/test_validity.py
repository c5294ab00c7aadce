"""LIC-08: a licence begins and ends at its second, in UTC, whatever the calendar does."""

from __future__ import annotations

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, healed_after
from suites.licensing.judges import Moment, judge_boundaries
from suites.licensing.steps import frozen, install_good, installed, operator, present

# Seconds since the epoch. Nodes of this suite run in a zone that is not UTC, so that local-time mistakes show.
INSTANTS = {
    "an ordinary second": 1_790_000_000,
    "DST begins in New York (2026-03-08T07:00:00Z)": 1_772_953_200,
    "DST ends in New York (2026-11-01T06:00:00Z)": 1_793_512_800,
    "DST begins in Berlin (2026-03-29T01:00:00Z)": 1_774_746_000,
    "after the leap second of 2016": 1_483_228_800,
    "leap day (2028-02-29T00:00:00Z)": 1_835_395_200,
    "last second of signed 32 bits (2038-01-19T03:14:07Z)": 2_147_483_647,
    "first second beyond 32 bits (2038-01-19T03:14:08Z)": 2_147_483_648,
    "beyond unsigned 32 bits (2106-02-07T06:28:16Z)": 4_294_967_296,
}
DAY_S = 86_400


@requirement("LIC-08", needs=(Capability.VENDOR_KEYS, Capability.CLOCK_CONTROL))
def test_validity_is_exact_to_the_second(deployment: Deployment, evidence: Evidence) -> None:
    """One second before, at and after nbf and exp, at ordinary, DST, leap and 2038 instants: valid when nbf <= now
    < exp."""
    node = deployment.subject
    moments: list[Moment] = []
    problems: list[str] = []
    with healed_after(deployment):
        for label, at_s in INSTANTS.items():
            for offset_s in (-1, 0, 1):
                client = frozen(deployment, node, at_s + offset_s)
                for boundary, nbf, exp in (("nbf", at_s, at_s + DAY_S), ("exp", at_s - DAY_S, at_s)):
                    claims = deployment.vendor.licence_claims(node, nbf=nbf, exp=exp)
                    text = deployment.vendor.sign("licence", claims)
                    answer = present(client, text)
                    moments.append(Moment(label, offset_s, boundary, answer.status, answer.error_code))
            problems += _expires_in_place(deployment, label, at_s)
        problems += judge_boundaries(moments)
        deployment.clock.release(node.name)
        install_good(deployment, node, operator(node))
    evidence.add("moments", [[m.label, m.boundary, m.offset_s, m.status, m.code] for m in moments])
    conclude(evidence, problems, "valid exactly when nbf <= now < exp", f"{len(moments)} moments, all as expected")


def _expires_in_place(deployment: Deployment, label: str, at_s: int) -> list[str]:
    """A licence that is in force changes state at its last second without being presented again."""
    node = deployment.subject
    client = frozen(deployment, node, at_s - 1)
    text = deployment.vendor.sign("licence", deployment.vendor.licence_claims(node, nbf=at_s - DAY_S, exp=at_s))
    assert present(client, text).status < 300, f"{label}: refused one second before its end"
    states = [installed(client)["state"]]
    for offset_s in (0, 1):
        states.append(installed(frozen(deployment, node, at_s + offset_s))["state"])
    expected = ["valid", "expired", "expired"]
    return [] if states == expected else [f"{label}: states {states} at -1/0/+1 s, expected {expected}"]

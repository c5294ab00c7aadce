"""ISO-18: a tenant that asks ten times its quota is throttled, and its neighbour hardly notices."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from environments.contract import Deployment, Evidence, Node, requirement
from suites.exchange import conclude
from suites.isolation.neighbours import Load, Locust, Phase, judge_neighbours, ratio_of, running, told
from suites.isolation.parties import Party, canary, parties
from suites.isolation.passing import passing_tenant

PHASE_S = 3.0
TURNS, TURNS_MOST = 2, 5  # more than the first ones only where a throttled neighbour seems to slow the other
QUOTA_PER_S = 40.0  # of the loud tenant's plan
ALIASES, LOUD_USERS = 20, 10
QUIET_USERS, QUIET_PER_USER_S = 4, 10.0
KIND = "neighbour"


def _loud(node: Node, base: str, party: Party) -> Load:
    """Ten times the quota, in requests of twenty root fields each: an alias costs as much as a request."""
    id_ = party.entity(KIND)
    fields = " ".join(f'a{n}: entity(id: "{id_}") {{ id props }}' for n in range(ALIASES))
    per_user_s = 10 * QUOTA_PER_S / ALIASES / LOUD_USERS
    return Load(base, str(party.client.token), f"{{ {fields} }}", LOUD_USERS, per_user_s)


def _quiet(base: str, party: Party) -> Load:
    for _ in range(10):
        party.entity(KIND)
    query = f'{{ entities(kind: "{KIND}", limit: 20) {{ id labels props }} }}'
    return Load(base, str(party.client.token), query, QUIET_USERS, QUIET_PER_USER_S)


def _phase(quiet: Locust, loud: bool) -> Phase:
    time.sleep(0.5)  # what was under way when the phase began is not of it
    began_s = time.time()
    time.sleep(PHASE_S)
    ended_s = time.time()
    return Phase(loud, [s for s in quiet.samples() if began_s <= s.t_s <= ended_s])


@requirement("ISO-18")
def test_loud_tenant_is_throttled_and_the_other_served(
    deployment: Deployment, evidence: Evidence, tmp_path: Path
) -> None:
    """By turns without and with a neighbour that asks ten times its quota: the neighbour gets 429, and the tenant's
    p95 stays within one and a half times what it was."""
    node = deployment.subject
    one, _ = parties(node, "neighbour")
    with passing_tenant(node, rate_per_s=QUOTA_PER_S) as (tenant, client), node.http().relay(node.url("data")) as base:
        loud_party = Party(tenant.name, client, canary("neighbour", tenant.name))
        load, phases, statuses, asked = _loud(node, base, loud_party), [], Counter[int](), 0
        with running(_quiet(base, one), tmp_path, "quiet") as quiet:
            for n in range(TURNS_MOST):
                phases.append(_phase(quiet, False))
                with running(load, tmp_path, f"loud-{n}") as loud:
                    phases.append(_phase(quiet, True))
                    samples = loud.samples()
                statuses.update(s.status for s in samples)
                asked += len(samples)
                took_s = max(s.t_s for s in samples) - min(s.t_s for s in samples)
                evidence.add(f"loud, turn {n + 1}", f"{len(samples)} requests of {ALIASES} fields in {took_s:.1f} s")
                if n + 1 >= TURNS and not ((ratio := ratio_of(phases, deployment.seed)).slowed and statuses[429]):
                    break
    asked_per_s = asked * ALIASES / (len(ratio.turns) * (PHASE_S + 0.5))
    evidence.add("quiet", [told(phase) for phase in phases])
    evidence.add("loud statuses", dict(statuses))
    problems = judge_neighbours(ratio, phases, statuses, asked_per_s, QUOTA_PER_S)
    conclude(
        evidence,
        problems,
        "429 for the loud tenant; p95 of the quiet one at most 1.5 times",
        f"{statuses[429]} of {asked} refused with 429; p95 {ratio.ratio:.2f} times",
    )

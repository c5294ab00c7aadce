"""FUN-13: what a tenant uses reaches the payment provider once, whatever the provider does meanwhile."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from environments.contract import Capability, Deployment, Evidence, Node, Payments, requirement
from suites.exchange import assert_refused, conclude, document, healed_after, signed_in, tenants
from suites.functional.billing import invoiced, judge_invoice, judge_keys, judge_seats
from suites.product import launch_run
from suites.waiting import wait_until

REACHES_S = 15.0  # the product's longest pause between attempts is 4 s
ATTEMPTS = 3  # of a fault: seen to have been met, not passed by

NEEDS = (Capability.PAYMENTS,)


def metered(node: Node) -> dict[str, dict[str, int]]:
    """tenant -> kind -> quantity, as the product tells its customers."""
    found = {}
    for tenant in tenants(node):
        answer = signed_in(node, "admin", tenant).control("GET", "/v1/billing/usage")
        body = document(answer)
        assert answer.status == 200 and body.get("tenant") == tenant, f"usage of {tenant}: {body}"
        found[tenant] = {kind: int(quantity) for kind, quantity in body["metered"].items()}
    return found


def use(node: Node, evidence: Evidence) -> dict[str, int]:
    """Launch runs, a number of its own for each tenant; tenant -> how many. (A run is what is billed by use.)"""
    launched = {tenant: number for number, tenant in enumerate(tenants(node), start=ATTEMPTS)}
    for tenant, count in launched.items():
        client = signed_in(node, "analyst", tenant)
        for _ in range(count):
            launch_run(client, {"pause_s": 0})
    evidence.add("launched", launched)
    return launched


def runs_of(totals: dict[str, dict[str, int]]) -> dict[str, int]:
    return {tenant: kinds.get("run", 0) for tenant, kinds in totals.items()}


def settled(node: Node, provider: Payments) -> Callable[[], bool]:
    def reached() -> bool:
        told, taken = metered(node), invoiced(provider.requests())
        return all(taken.get(tenant, {}).get(kind) for tenant, kinds in told.items() for kind in kinds) and all(
            taken[tenant]["run"] >= kinds["run"] for tenant, kinds in told.items() if "run" in kinds
        )

    return reached


def add(evidence: Evidence, told: Any, provider: Payments, since: int) -> None:
    rows = [asdict(each) for each in provider.requests()[since:]]
    evidence.add("metered", told)
    evidence.add("requests at the provider", rows[:60])


@requirement("FUN-13", needs=NEEDS, only=("saas", "dedicated"))
@pytest.mark.parametrize("how", ["ok", "fail", "limit", "refuse", "drop", "delay"])
def test_usage_is_invoiced_once_whatever_the_provider_does(
    deployment: Deployment, evidence: Evidence, how: str
) -> None:
    """Tenants use the product while the provider is well, fails, limits, refuses, takes without answering, or is slow:
    the product goes on, and in the end each is invoiced for what was metered, under one key per event."""
    node = deployment.subject
    provider = deployment.payments[node.name]
    with healed_after(deployment):
        before, since = metered(node), len(provider.requests())
        provider.answer(how, times=ATTEMPTS if how in ("drop", "delay") else None, delay_s=0.3)
        launched = use(node, evidence)
        met = wait_until(lambda: sum(x.how == how for x in provider.requests()[since:]) >= ATTEMPTS, REACHES_S)
        told = metered(node)
        provider.answer("ok")
        took_s = wait_until(settled(node, provider), REACHES_S)
    requests = provider.requests()
    add(evidence, told, provider, since)
    evidence.add("all reached the provider after", round(took_s, 3))
    used = {tenant: count - runs_of(before)[tenant] for tenant, count in runs_of(told).items()}
    problems = [] if used == launched else [f"launched {launched}, metered {used}"]
    problems += judge_invoice(told, requests) + judge_keys(requests)
    if met > REACHES_S:
        problems.append(f"the provider, which answers {how}, was asked fewer than {ATTEMPTS} times in {REACHES_S:g} s")
    total = sum(launched.values())
    conclude(evidence, problems, "invoiced equals metered, one key per event", f"{total} runs invoiced once ({how})")


@requirement("FUN-13", needs=(*NEEDS, Capability.PROCESS_CONTROL), only=("saas", "dedicated"))
def test_usage_is_invoiced_once_across_a_crash(deployment: Deployment, evidence: Evidence) -> None:
    """The service that bills is killed after the provider took an event and before it could say so."""
    node = deployment.subject
    provider = deployment.payments[node.name]
    with healed_after(deployment):
        since = len(provider.requests())
        provider.answer("drop")
        use(node, evidence)
        wait_until(lambda: any(x.applied for x in provider.requests()[since:]), REACHES_S)
        node.kill("control")
        taken = sum(x.applied for x in provider.requests()[since:])
        provider.answer("ok")
        node.start("control")
        node.wait_ready()
        told = metered(node)
        wait_until(settled(node, provider), REACHES_S)
    requests = provider.requests()
    add(evidence, told, provider, since)
    problems = judge_invoice(told, requests) + judge_keys(requests)
    if not taken:
        problems.append("no event was taken before the crash: it proves nothing")
    conclude(
        evidence, problems, "invoiced equals metered", f"{taken} event(s) taken unheard before the crash, none twice"
    )


@requirement("FUN-13", needs=NEEDS)
def test_seats_are_metered_per_tenant(deployment: Deployment, evidence: Evidence) -> None:
    """Each tenant is told to the provider with the seats it has, and once a day at most."""
    node = deployment.subject
    provider = deployment.payments[node.name]
    seats = {
        tenant: sum(user.tenant == tenant and "node" not in user.roles for user in node.users)
        for tenant in tenants(node)
    }
    wait_until(lambda: all("seats" in invoiced(provider.requests()).get(t, {}) for t in seats), REACHES_S)
    add(evidence, metered(node), provider, 0)
    conclude(evidence, judge_seats(seats, provider.requests()), f"seats {seats}", f"seats invoiced: {seats}")


@requirement("FUN-13", needs=NEEDS)
def test_an_event_of_the_provider_counts_once(deployment: Deployment, evidence: Evidence) -> None:
    """The provider delivers a webhook again, as it does when it is unsure: taken each time, counted once. Unsigned,
    altered, or signed too long ago it is refused."""
    node = deployment.subject
    provider = deployment.payments[node.name]
    identifier = f"evt_{uuid.uuid4().hex}"
    body = json.dumps({"id": identifier, "type": "invoice.paid"}).encode()

    def deliver(content: bytes, header: str | None) -> Any:
        url = node.url("control") + "/v1/billing/stripe-webhook"
        headers = {} if header is None else {"Stripe-Signature": header}
        return node.http().request("POST", url, body=content, headers=headers)

    for header, content in (
        (None, body),
        (provider.signature(b"{}"), body),
        (provider.signature(body, at_s=1.0), body),
    ):
        assert_refused(deliver(content, header), 400, "INVALID", "a webhook that the provider did not sign now")
    answers = [deliver(body, provider.signature(body)).status for _ in range(3)]
    entries = _audit_of(node, identifier)
    evidence.add("answers", answers)
    evidence.add("audit entries", entries)
    problems = [] if answers == [200, 200, 200] else [f"deliveries were answered {answers}, not 200 each"]
    if len(entries) != 1:
        problems.append(f"{identifier} was delivered 3 times and counted {len(entries)} times")
    conclude(evidence, problems, "counted once", "three deliveries, counted once; three forgeries refused")


def _audit_of(node: Node, identifier: str) -> list[Any]:
    operator = node.login(node.user("operator"))
    found: list[Any] = []
    after = 0
    while True:
        page = document(operator.admin("GET", f"/v1/audit?after={after}"))
        found += [entry for entry in page["entries"] if entry["objectId"] == identifier]
        if not page["entries"]:
            return found
        after = page["next"]

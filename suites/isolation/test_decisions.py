"""ISO-21: what the policy does not clearly allow is denied, whatever becomes of policy or policy server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from environments.contract import (
    Capability,
    Client,
    Deployment,
    Evidence,
    Node,
    Response,
    TransportError,
    requirement,
)
from suites.exchange import assert_no_crash, conclude, healed_after, signed_in
from suites.isolation.decisions import FAILURES, MARKERS, Decision, failing, judge_denials, of_tenant
from suites.product import create_entity, literal
from suites.tether.plane import AFTER_OUTAGE_S, Plane
from suites.tether.policies import DENIED, policy
from suites.waiting import wait_until

CORE = ("saas", "dedicated", "onprem-connected", "onprem-tethered", "onprem-airgap")
ELSEWHERE = "elsewhere"  # a tenant that nobody here is of
BACK_S = 20.0
UNAVAILABLE = frozenset({"POLICY_UNAVAILABLE"})


def _publish(plane: Plane, number: int, found: Mapping[str, str], marker: str) -> None:
    """In force when this returns, at the data plane too: its marker is denied there, and the other one is not."""
    revision = plane.next_revision()
    plane.publish(policy(plane.deployment.vendor, revision, dict(found)))
    plane.wait(lambda: plane.in_force()["revision"] == revision, f"policy {number} has come", AFTER_OUTAGE_S)
    wanted = {each: "FORBIDDEN" if each == marker else "NOT_FOUND" for each in MARKERS}

    def there() -> bool:
        return {each: _mark(plane.client, each).error_code for each in MARKERS} == wanted

    plane.wait(there, f"policy {number} is in force", AFTER_OUTAGE_S)


def _mark(client: Client, marker: str) -> Response:
    query = f"mutation($id: ID!) {{ {MARKERS[marker]} }}"
    return assert_no_crash(client.graphql(query, {"id": str(uuid.uuid4())}), marker)


def _marker(number: int) -> str:
    return list(MARKERS)[number % 2]


def _relate(plane: Plane, circumstances: str, **more: Any) -> Decision:
    answer = plane.client.graphql(*_relating(plane), **more)
    return Decision(circumstances, DENIED, answer.status, answer.error_code, answer.elapsed_s)


def _relating(plane: Plane) -> tuple[str, dict[str, str]]:
    query = 'mutation($s: ID!, $d: ID!) { createRelationship(input: {srcId: $s, dstId: $d, type: "T"}) { id } }'
    return query, {"s": plane.ends[0], "d": plane.ends[1]}


def _create(client: Client, circumstances: str) -> Decision:
    answer = client.graphql('mutation { createEntity(input: {kind: "decided"}) { id } }')
    return Decision(circumstances, "entity.create", answer.status, answer.error_code, answer.elapsed_s)


@requirement("ISO-21", needs=(Capability.VENDOR_KEYS,))
def test_a_policy_that_fails_denies(deployment: Deployment, evidence: Evidence) -> None:
    """Genuine policies whose answer for one action is an error, undefined, or no boolean: that action is denied, every
    other one is served, and with the next good policy it is allowed again."""
    with healed_after(deployment):
        plane = Plane(deployment)
        plane.good_link()
        plane.publish_good()
        seen, allowed = [], [_relate(plane, "before")]
        for number, name in enumerate(FAILURES):
            _publish(plane, number, failing(name, _marker(number)), _marker(number))
            seen.append(_relate(plane, name))
            allowed.append(_create(plane.client, name))
        plane.publish_good()
        allowed.append(_relate(plane, "after"))
    evidence.add("undecided", [vars(each) for each in seen])
    evidence.add("allowed", [vars(each) for each in allowed])
    conclude(
        evidence, judge_denials(seen, allowed), "denied", f"{len(seen)} policies that fail, {DENIED} denied by all"
    )


CHANNELS: Mapping[str, Mapping[str, Any]] = {
    "header": {"headers": {"X-Tenant-Id": ELSEWHERE, "X-Tenant": ELSEWHERE, "X-Companyos-Tenant": ELSEWHERE}},
    "cookie": {"headers": {"Cookie": f"tenant={ELSEWHERE}; tenantId={ELSEWHERE}"}},
    "forwarded": {"headers": {"X-Forwarded-Host": f"{ELSEWHERE}.companyos.test", "X-Original-Tenant-Id": ELSEWHERE}},
    "baggage": {"headers": {"Baggage": f"tenant={ELSEWHERE}"}},
}


def _by_address(plane: Plane, circumstances: str) -> Decision:
    """The tenant in the query string, and as a variable."""
    query, variables = _relating(plane)
    document = {"query": query, "variables": {**variables, "tenantId": ELSEWHERE, "tenant": ELSEWHERE}}
    answer = plane.client.data("POST", f"/graphql?tenant={ELSEWHERE}&tenantId={ELSEWHERE}", json=document)
    return Decision(circumstances, DENIED, answer.status, answer.error_code, answer.elapsed_s)


@requirement("ISO-21", needs=(Capability.VENDOR_KEYS,))
def test_the_policy_is_asked_about_the_tenant_of_the_token(deployment: Deployment, evidence: Evidence) -> None:
    """A policy allows an action to one other tenant alone: whoever claims to be of it, in whatever channel, is denied.
    A policy that allows it to the tenant of the token does so with the same claims."""
    with healed_after(deployment):
        plane = Plane(deployment)
        plane.good_link()
        plane.publish_good()
        tried: dict[str, list[Decision]] = {}
        for number, tenant in enumerate((ELSEWHERE, plane.tenant)):
            _publish(plane, number, of_tenant(tenant, _marker(number)), _marker(number))
            tried[tenant] = [_relate(plane, f"for {tenant}, {name}", **more) for name, more in CHANNELS.items()]
            tried[tenant].append(_by_address(plane, f"for {tenant}, query string and variables"))
        plane.publish_good(DENIED)  # so that the next one can be told from what was allowed to one tenant alone
        plane.publish_good()
    evidence.items.update({f"allowed to {tenant}": [vars(each) for each in seen] for tenant, seen in tried.items()})
    problems = judge_denials(tried[ELSEWHERE], tried[plane.tenant])
    conclude(evidence, problems, "the token's tenant decides", f"{len(tried[ELSEWHERE])} claims changed nothing")


def _everything(client: Client, entity: str, circumstances: str) -> Iterator[Decision]:
    """Actions of every kind, reads and writes, GraphQL and REST."""
    queries = {
        "entity.read": f"{{ entity(id: {literal(entity)}) {{ id }} }}",
        "entity.create": 'mutation { createEntity(input: {kind: "decided"}) { id } }',
        "relationship.read": "{ relationships { id } }",
        "run.create": 'mutation { launchRun(runbook: "enrich") { id } }',
        "me.read": "{ me { sub } }",
    }
    for name, query in queries.items():
        yield _asked(circumstances, name, lambda query=query: client.graphql(query, timeout_s=8.0))
    yield _asked(circumstances, "event.read", lambda: client.data("GET", "/v1/events?after=0", timeout_s=8.0))


def _asked(circumstances: str, name: str, ask: Any) -> Decision:
    try:
        answer = assert_no_crash(ask(), f"{circumstances}: {name}")
    except TransportError:
        return Decision(circumstances, name, None, None)
    return Decision(circumstances, name, answer.status, answer.error_code, answer.elapsed_s)


def _readiness(node: Node) -> tuple[int, list[str]]:
    """(status of /readyz, names of the checks that are not ok)"""
    answer = node.http().request("GET", node.url("data") + "/readyz", timeout_s=8.0)
    checks: Mapping[str, Any] = answer.json()["checks"]
    return answer.status, sorted(name for name, check in checks.items() if not check["ok"])


@contextmanager
def _killed(node: Node) -> Iterator[None]:
    node.kill("opa")
    yield
    node.start("opa")


@contextmanager
def _paused(node: Node) -> Iterator[None]:
    node.pause("opa")
    yield
    node.resume("opa")


@contextmanager
def _somebody_else(node: Node, port: int) -> Iterator[None]:
    """Where the policy server was, another one listens: the data service is told so by its configuration."""
    node.kill("data")
    node.start("data", config={"opa_url": f"http://127.0.0.1:{port}"})
    wait_until(lambda: _alive(node), BACK_S)
    yield
    node.kill("data")
    node.start("data")


def _alive(node: Node) -> bool:
    try:
        return node.http().request("GET", node.url("data") + "/healthz", timeout_s=2.0).status == 200
    except TransportError:
        return False


@requirement("ISO-21", needs=(Capability.POLICY_SERVER, Capability.PROCESS_CONTROL), only=CORE)
def test_without_its_policy_server_a_node_allows_nothing(deployment: Deployment, evidence: Evidence) -> None:
    """The policy server is killed, stands still, or is somebody else: every action is refused as POLICY_UNAVAILABLE
    within the bound, and readiness says so. With the server back everything is served as before."""
    node = deployment.subject
    client = signed_in(node, "analyst")
    entity = create_entity(client, "decided")["id"]
    ports = {"PostgreSQL": "postgres", "an API of ours": "data"}
    listening = {name: next(p.port for p in node.listeners() if p.service == ports[name]) for name in ports}
    ways = {"killed": _killed(node), "stands still": _paused(node)}
    ways |= {f"is {name}": _somebody_else(node, port) for name, port in listening.items()}
    seen: list[Decision] = []
    allowed = list(_everything(client, entity, "before"))
    problems = []
    with healed_after(deployment):
        for name, way in ways.items():
            with way:
                wait_until(lambda: _create(client, "").code is not None, 2.0)  # a pause takes hold within milliseconds
                seen += _everything(client, entity, name)
                status, broken = _readiness(node)
                if status != 503 or "policy" not in broken:
                    problems.append(f"{name}: /readyz {status}, names {broken}, not the policy")
            waited_s = wait_until(lambda: _alive(node) and _create(client, "").code is None, BACK_S)
            evidence.add(f"{name}: served again after_s", round(waited_s, 2))
            allowed += _everything(client, entity, f"after it was {name}")
    evidence.add("undecided", [vars(each) for each in seen])
    problems += judge_denials(seen, allowed, UNAVAILABLE)
    conclude(evidence, problems, "POLICY_UNAVAILABLE throughout", f"{len(seen)} requests refused, in {len(ways)} ways")

"""What a sealed node is put through while the ledger watches: each phase says how often the node answered in it."""

from __future__ import annotations

import time

from environments.contract import Deployment, Node, TransportError
from suites.airgap.steps import restart
from suites.exchange import ask, http_bases, probe, signed_in
from suites.product import create_entity, launch_run

STEADY_S = 2.0  # several of the node's own intervals (policy 0.3 s, sync 0.2 s), and any timer of a second
KINDS = 15  # at least: TCP, UDP, DNS, QUIC, ICMP, raw IP over both versions, DNS over TCP and TLS, NTP


def boot(deployment: Deployment, node: Node) -> int:
    restart(node)
    return 1


def steady(deployment: Deployment, node: Node) -> int:
    """Ordinary work, for as long as the node's timers need to come round."""
    client, count, until = signed_in(node), 0, time.monotonic() + STEADY_S
    made = create_entity(client, "airgap-steady", {"n": 0})
    launch_run(client)
    while time.monotonic() < until:
        ask(client, "query($id: ID!) { entity(id: $id) { id } me { sub } }", {"id": made["id"]})
        count += 1
        time.sleep(0.02)  # a pace, so that the phase is long rather than busy
    return count


def error_paths(deployment: Deployment, node: Node) -> int:
    """Everything that fails: crash reporters wake up here."""
    client = signed_in(node)
    answers: list[object] = [
        client.graphql("{ nonsense"),
        client.graphql("{ nonsense }"),
        client.graphql('mutation { deleteEntity(id: "00000000-0000-4000-8000-000000000000") }'),
        client.graphql('mutation { launchRun(runbook: "no-such-runbook") { id } }'),
        client.data("POST", "/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}]}),
        client.data("GET", "/no/such/path"),
        client.data("POST", "/graphql", body=b"\xff\xfe{", headers={"Content-Type": "application/json"}),
    ]
    nobody = {"tenant": "x", "username": "y", "password": "z"}
    for base in http_bases(node).values():
        answers.append(probe(node, "POST", f"{base}/v1/auth/login", json=nobody))
        answers.append(probe(node, "GET", f"{base}/v1/policy", headers={"Authorization": "Bearer eyJ.eyJ.x"}))
    return sum(not isinstance(answer, TransportError) for answer in answers)

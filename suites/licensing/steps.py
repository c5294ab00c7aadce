"""What the licence checks do with a node."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from environments.contract import Client, Deployment, Node, Response, untestable
from suites.exchange import assert_no_crash, document, shown
from suites.licensing.compact import payload_of
from suites.licensing.judges import Answered
from suites.licensing.vectors import Vector


def operator(node: Node) -> Client:
    return node.login(node.user("operator"))


def present(client: Client, body: bytes | str, timeout_s: float = 10.0) -> Response:
    raw = body.encode() if isinstance(body, str) else body
    return client.admin(
        "PUT", "/v1/licence", body=raw, headers={"Content-Type": "application/jose"}, timeout_s=timeout_s
    )


def installed(client: Client) -> dict[str, Any]:
    """`{state, reason, claims}` of the licence that is installed."""
    answer = client.admin("GET", "/v1/licence")
    assert answer.status == 200, f"GET /v1/licence: {shown(answer)}"
    return document(answer)


def install_good(deployment: Deployment, node: Node, client: Client, **changes: Any) -> dict[str, Any]:
    """The positive control: a genuine licence is accepted and in force. Returns what is installed then.

    Its serial is its own, so that what is in force can be told from what was before."""
    claims = deployment.vendor.licence_claims(node, **{"serial": time.time_ns() // 1000, **changes})
    answer = present(client, deployment.vendor.sign("licence", claims))
    assert_no_crash(answer, "a genuine licence")
    assert answer.status in (200, 201, 204), f"a genuine licence was refused: {shown(answer)}"
    found = installed(client)
    assert found["state"] == "valid", f"a genuine licence is not in force: {found}"
    assert found["claims"]["serial"] == claims["serial"], f"another licence is in force: {found}"
    return found


def present_all(client: Client, vectors: Iterable[Vector]) -> list[Answered]:
    answers = []
    for each in vectors:
        answer = present(client, each.body)
        answers.append(Answered(each.name, each.codes, answer.status, answer.error_code))
    return answers


def frozen(deployment: Deployment, node: Node, at_s: float) -> Client:
    """Freeze the node's clock, sign in, and prove by the token's issue time that the node reads that clock."""
    deployment.clock.freeze(node.name, at_s)
    client = operator(node)
    issued = payload_of(str(client.token)).get("iat")
    if not isinstance(issued, int | float) or abs(issued - at_s) > 1:
        untestable(f"clock-control: {node.name} does not honour its clock (asked {at_s}, token issued at {issued})")
    return client

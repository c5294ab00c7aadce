"""The control plane of a node as these checks use it: publish, watch, take away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from environments.contract import Capability, Client, Deployment, LinkState, Node, Response, TransportError, untestable
from suites.exchange import assert_no_crash, document, shown, signed_in, tenants
from suites.product import create_entity
from suites.tether.policies import DENIED, modules, policy
from suites.waiting import wait_until

AFTER_OUTAGE_S = 10.0  # after an outage a node may pause longer between its polls
SEEN_S = 4.0  # a node polls every 0.3 s; over a slow link an answer takes a second or two


class Plane:
    """The node under test and the control plane that it polls."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.node = deployment, deployment.subject
        self.remote = deployment.parent is not None
        self.control: Node = deployment.parent or deployment.subject
        if "edge" in self.control.services:
            untestable("a parent: the edge of this deployment has no control plane that a policy could come from")
        self.local_identity = self.remote  # identity is on the node itself when its control plane is elsewhere
        self.tenant = tenants(self.node)[0]
        self.client: Client = signed_in(self.node, "analyst", self.tenant)
        self.operator: Client = self.node.login(self.node.user("operator"))
        self.ends = (self._entity(), self._entity())

    # signing in

    def sign_in(self) -> None:
        self.client = signed_in(self.node, "analyst", self.tenant)
        self.operator = self.node.login(self.node.user("operator"))

    # publishing

    def publish(self, text: str) -> None:
        answer = self.control.login(self.control.user("operator")).control(
            "PUT", "/v1/policy", body=text.encode(), headers={"Content-Type": "application/jose"}
        )
        assert answer.status < 300, f"the control plane did not store the policy: {shown(answer)}"

    def publish_good(self, *denied: str) -> int:
        """A newer genuine policy; waits until the node has it and acts by it. Returns its revision."""
        revision = self.next_revision()
        self.publish(policy(self.deployment.vendor, revision, modules(*denied)))
        self.wait(lambda: self.in_force()["revision"] == revision, f"revision {revision} is in force", AFTER_OUTAGE_S)
        # Where control has a process of its own, the data service polls for itself: its conduct tells.
        self.wait(lambda: self.denies() == (DENIED in denied), f"revision {revision} is enforced", AFTER_OUTAGE_S)
        return revision

    def next_revision(self) -> int:
        """Above what this node and the control plane's own services have."""
        return max(int(status["revision"]) for status in (self.in_force(), self._at_control())) + 1

    def _at_control(self) -> dict[str, Any]:
        return _status(self.control.login(self.control.user("operator")))

    def in_force(self) -> dict[str, Any]:
        """GET /v1/policy where the node answers it itself; `{revision, digest, age_s, last_error}`."""
        return _status(self.operator)

    # observing

    def _entity(self) -> str:
        return str(create_entity(self.client, "tether", {})["id"])

    def denies(self) -> bool:
        """Is the marked action refused with FORBIDDEN? (Asked with real ends, so that nothing else is wrong.)"""
        answer = relate(self.client, *self.ends)
        assert answer.error_code in (None, "FORBIDDEN"), f"{DENIED}: {shown(answer)}"
        return answer.error_code == "FORBIDDEN"

    def serves(self) -> bool:
        answer = self.client.graphql('mutation { createEntity(input: {kind: "tether", props: {}}) { id } }')
        assert_no_crash(answer, "createEntity")
        return answer.status == 200 and answer.error_code is None

    def wait(self, condition: Callable[[], bool], what: str, limit_s: float = SEEN_S) -> None:
        assert wait_until(condition, limit_s) <= limit_s, f"not within {limit_s:g} s: {what}"

    def good_link(self) -> None:
        """A perfect link, for checks that are not about links: some twenty updates wait for a poll each."""
        if self.remote and Capability.LINK_CUTS in self.deployment.capabilities:
            self.deployment.links.set(self.node.site, self.control.site, LinkState())

    # taking it away

    def take_down(self) -> None:
        if self.remote:
            self.deployment.links.cut(self.node.site, self.control.site)
        else:
            self.node.kill("control")

    def restart_data(self) -> None:
        """kill -9 of the node's data plane and a start, the control plane staying away."""
        service = "edge" if "edge" in self.node.services else "data"
        self.node.kill(service)
        self.node.start(service)
        self.wait(self._ready, f"{service} is ready again", 20.0)
        if self.local_identity:
            self.sign_in()

    def _ready(self) -> bool:
        try:
            answer = self.node.http().request("GET", self.node.url("data") + "/readyz", timeout_s=2.0)
        except TransportError:
            return False
        return answer.status == 200

    def reachable(self) -> bool:
        """Does the control plane answer from where the node is? The proof that taking it away worked."""
        try:
            url = self.control.url("control") + "/healthz"
            return self.node.http().request("GET", url, timeout_s=1.0).status == 200
        except TransportError:
            return False


def relate(client: Client, one: str, two: str) -> Response:
    query = (
        'mutation($s: ID!, $d: ID!) { createRelationship(input: {srcId: $s, dstId: $d, type: "T", props: {}}) { id } }'
    )
    answer = client.graphql(query, {"s": one, "d": two})
    return assert_no_crash(answer, "createRelationship")


def _status(client: Client) -> dict[str, Any]:
    answer = client.admin("GET", "/v1/policy")
    assert answer.status == 200, f"GET /v1/policy: {shown(answer)}"
    return document(answer)

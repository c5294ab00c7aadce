"""Tenants that a check makes and removes itself, by the operator of a hosted node."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from environments.contract import Client, Node, Response, User
from suites.exchange import assert_no_crash, document, shown
from suites.waiting import wait_until

GONE_S = 60.0  # patience; whether it took no longer than was promised is judged


class PassingTenant:
    """A tenant of this check alone, with one administrator."""

    def __init__(self, node: Node, name: str | None = None, username: str = "admin") -> None:
        self.node = node
        self.name = name or f"passing-{uuid.uuid4().hex[:16]}"
        self.user = User(self.name, username, secrets.token_urlsafe(18), ("admin",))

    def operate(self, method: str, path: str, json: object = None) -> Response:
        """As the node's operator."""
        operator = self.node.login(self.node.user("operator"))
        return assert_no_crash(operator.control(method, path, json=json), f"{method} {path}")

    def create(self, **plan: float) -> Client:
        """Its administrator, signed in. plan: what was agreed for it, as rate_per_s."""
        admin = {"username": self.user.username, "password": self.user.password}
        answer = self.operate("POST", "/v1/tenants", {"tenant": self.name, "admin": admin, **plan})
        assert answer.status == 201, f"the tenant {self.name} was not made: {shown(answer)}"
        return self.node.login(self.user)

    def delete(self) -> Response:
        answer = self.operate("DELETE", f"/v1/tenants/{self.name}")
        assert answer.status == 202, f"the tenant {self.name} is not being removed: {shown(answer)}"
        return answer

    def state(self) -> str | None:
        """ACTIVE, LEAVING, or None once the node knows no such tenant."""
        answer = self.operate("GET", f"/v1/tenants/{self.name}")
        if answer.status == 404:
            return None
        assert answer.status == 200, shown(answer)
        return str(document(answer)["state"])

    def wait_gone(self, limit_s: float = GONE_S) -> float:
        """Seconds until it was gone; more than limit_s if it never was."""
        return wait_until(lambda: self.state() is None, limit_s)


@contextmanager
def passing_tenant(node: Node, **plan: float) -> Iterator[tuple[PassingTenant, Client]]:
    tenant = PassingTenant(node)
    client = tenant.create(**plan)
    try:
        yield tenant, client
    finally:
        if tenant.state() == "ACTIVE":
            tenant.delete()

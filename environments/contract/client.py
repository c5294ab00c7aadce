"""The typed client that checks use; an adapter class with the same methods can stand in for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.contract.deployment import HttpSession, Node, Response, TransportError, User


class HttpClient:
    """One identity at one node, over the wire surface of docs/contract.md. The contract's Client."""

    def __init__(self, node: Node, session: HttpSession, user: User | None = None, token: str | None = None) -> None:
        self._node, self._session = node, session
        self.user, self.token = user, token

    def graphql(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Response:
        document = {"query": query, "variables": dict(variables or {})}
        return self._call("data", "POST", "/graphql", headers=headers, json=document, timeout_s=timeout_s)

    def data(self, method: str, path: str, **kwargs: Any) -> Response:
        return self._call("data", method, path, **kwargs)

    def admin(self, method: str, path: str, **kwargs: Any) -> Response:
        return self._call("admin", method, path, **kwargs)

    def control(self, method: str, path: str, **kwargs: Any) -> Response:
        return self._call("control", method, path, **kwargs)

    def _call(
        self, role: str, method: str, path: str, headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> Response:
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent.update(headers or {})
        return self._session.request(method, self._node.url(role) + path, headers=sent, **kwargs)


def login(node: Node, session: HttpSession, user: User) -> HttpClient:
    """Sign in at the node's own identity service. Raises TransportError, or AssertionError naming status and body."""
    document = {"tenant": user.tenant, "username": user.username, "password": user.password}
    answer = session.request("POST", node.url("identity") + "/v1/auth/login", json=document)
    assert answer.status == 200, (
        f"login of {user.username}@{user.tenant} at {node.name}: {answer.status} {answer.body[:300]!r}"
    )
    token = answer.json().get("accessToken")
    if not isinstance(token, str):
        raise TransportError("other", f"login at {node.name} gave no accessToken")
    return HttpClient(node, session, user, token)

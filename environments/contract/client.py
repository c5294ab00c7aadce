"""The typed client that checks use; an adapter class with the same methods can stand in for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from environments.contract.deployment import HttpSession, Node, User
from environments.contract.exchanges import head
from environments.contract.messages import Response


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
    """Sign in at the node's own identity service. Raises TransportError, or AssertionError naming status
    and body."""
    credentials = {"tenant": user.tenant, "username": user.username, "password": user.password}
    answer = session.request("POST", node.url("identity") + "/v1/auth/login", json=credentials)
    assert answer.status == 200, (
        f"login of {user.username}@{user.tenant} at {node.name}: {answer.status} {head(answer.body, 300)!r}"
    )
    token = token_of(answer)
    assert token is not None, (
        f"login of {user.username}@{user.tenant} at {node.name} gave no accessToken: {head(answer.body, 300)!r}"
    )
    return HttpClient(node, session, user, token)


def token_of(answer: Response) -> str | None:
    """The access token that an answer to a login holds; None if it holds nothing of a token's form (RFC 6750)."""
    try:
        document = answer.json()
    except ValueError:
        return None
    token = document.get("accessToken") if isinstance(document, dict) else None
    return token if isinstance(token, str) and re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token) else None

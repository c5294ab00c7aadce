"""What one process of a node is made of, and the two questions every route asks: who is it, and may they."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from environments.companyos.config import NodeConfig
from environments.companyos.errors import ApiError
from environments.companyos.policy import PolicyAway
from environments.companyos.throttle import Throttle

if TYPE_CHECKING:
    from environments.companyos.audit import AuditLog
    from environments.companyos.clock import Clock
    from environments.companyos.events import EventLog
    from environments.companyos.identity import Identity
    from environments.companyos.metrics import Metrics
    from environments.companyos.policy import PolicyEngine
    from environments.companyos.storage.base import GraphStore, Store

SYSTEM_TENANT = "_system"  # the node's own tenant: operators, audit, meta


@dataclass(frozen=True)
class Principal:
    """A verified identity: everything here comes from the signed token and from nowhere else."""

    sub: str
    tenant: str
    roles: tuple[str, ...]
    expires_at: float

    def has(self, role: str) -> bool:
        return role in self.roles


@dataclass
class Services:
    config: NodeConfig
    role: str  # control, data or edge
    clock: Clock
    store: Store
    graph: GraphStore
    identity: Identity
    policy: PolicyEngine
    audit: AuditLog
    events: EventLog
    metrics: Metrics
    throttle: Throttle
    ending: Callable[[], bool] = lambda: False  # whether the process has been asked to end
    extra: dict[str, Any] = field(default_factory=dict)  # state of optional modules (sync, tether), by module name

    def authenticate(self, request: HTTPConnection) -> Principal:
        """The principal of the request's bearer token; ApiError UNAUTHENTICATED without a good one, RATE_LIMITED."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError("UNAUTHENTICATED", message="a bearer token is required")
        principal = self.identity.verify(token.strip())
        if principal.tenant != SYSTEM_TENANT:
            self.throttle.take(principal.tenant)
        return principal

    def require_operator(self, request: HTTPConnection) -> Principal:
        """The principal, if it administers the node (role `operator` of tenant `_system`); else FORBIDDEN."""
        principal = self.authenticate(request)
        if principal.tenant != SYSTEM_TENANT or not principal.has("operator"):
            self.audit.append(principal.tenant, principal.sub, "admin", "node", self.config.node_id, "denied")
            raise ApiError("FORBIDDEN", message="operator role required")
        return principal

    def authorize(self, principal: Principal, action: str, type_: str, id_: str | None = None) -> None:
        """Ask the policy; ApiError FORBIDDEN if it does not allow, POLICY_UNAVAILABLE if there is none to ask."""
        if not self.policy.loaded:
            raise ApiError("POLICY_UNAVAILABLE", message="no policy is loaded")
        subject = {"sub": principal.sub, "tenant": principal.tenant, "roles": list(principal.roles)}
        resource = {"type": type_, "id": id_, "tenant": principal.tenant}
        try:
            allowed = self.policy.decide({"subject": subject, "action": action, "resource": resource})
        except PolicyAway as error:
            self.metrics.denied(action)
            raise ApiError("POLICY_UNAVAILABLE", message="the policy server makes no decision") from error
        if not allowed:
            self.metrics.denied(action)
            raise ApiError("FORBIDDEN", message=f"{action} is not allowed")

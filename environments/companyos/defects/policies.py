"""Known-bad behaviours of policy decisions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection

from environments.companyos import policy, policy_server
from environments.companyos.defects import defect
from environments.companyos.policy import PolicyAway
from environments.companyos.policy_server import Opa, ServedPolicy, Unevaluated
from environments.companyos.services import Principal, Services

DATA: dict[str, Any] = {"roles": ("data", "edge")}
SERVED: dict[str, Any] = {"modes": ("A", "B", "Ct", "Ca"), "roles": ("data",), "drivers": ("containers",)}


def _answers(read: Any) -> None:
    """Let `read(values)` decide, of what the policy evaluated to: one value, or none if it is undefined or failed."""

    def evaluate(interpreter: Any, bundle: Any, document: Mapping[str, Any]) -> bool:
        interpreter.set_input(dict(document))
        output = interpreter.query_bundle_entrypoint(bundle, policy.ENTRYPOINT)
        values = [e for r in (output.results if output.ok() else []) for e in r.expressions]
        return bool(read(values))

    genuine = Opa.ask

    def ask(self: Opa, document: Mapping[str, Any]) -> tuple[int, Any]:
        try:
            revision, result = genuine(self, document)
        except Unevaluated:
            return 1 << 53, bool(read([]))
        return revision, bool(read([] if result is None else [result]))

    policy.evaluate = evaluate
    Opa.ask = ask  # type: ignore[method-assign]


@defect(kills=("ISO-21",), **DATA)
def allows_unless_denied(services: Services) -> None:
    """A decision is a denial if the policy says false: an error, or nothing, says no such thing."""
    _answers(lambda values: values[:1] != [False])


@defect(kills=("ISO-21",), **DATA)
def truthy_is_yes(services: Services) -> None:
    """The result is tested as the language does it: a number, a text and an object are true."""
    _answers(lambda values: bool(values) and bool(values[0]))


@defect(kills=("ISO-21",), **DATA)
def policy_tenant_from_header(services: Services) -> None:
    """The tenant in the policy's input is that of the gateway's header, where there is one."""
    genuine_authenticate, genuine_decide = services.authenticate, services.policy.decide
    claimed = threading.local()

    def authenticate(request: HTTPConnection) -> Principal:
        claimed.tenant = request.headers.get("x-tenant-id")
        return genuine_authenticate(request)

    def decide(document: Mapping[str, Any]) -> bool:
        tenant = getattr(claimed, "tenant", None)
        if tenant is None:
            return genuine_decide(document)
        both = {name: {**document[name], "tenant": tenant} for name in ("subject", "resource")}
        return genuine_decide({**document, **both})

    services.authenticate = authenticate  # type: ignore[method-assign]
    services.policy.decide = decide  # type: ignore[method-assign]


def _served(services: Services) -> ServedPolicy:
    if not isinstance(services.policy, ServedPolicy):
        raise SystemExit("this defect is of a policy server, and the node has none")
    return services.policy


@defect(kills=("ISO-21",), **SERVED)
def allows_without_its_policy_server(services: Services) -> None:
    """The product must not stand still for its policy server (the public product's PDP client allows without one)."""
    genuine = _served(services).decide

    def decide(document: Mapping[str, Any]) -> bool:
        try:
            return genuine(document)
        except PolicyAway:
            return True

    services.policy.decide = decide  # type: ignore[method-assign]


@defect(kills=("ISO-21",), **SERVED)
def decides_by_a_cache_without_its_server(services: Services) -> None:
    """What was allowed once is allowed while there is nobody to ask."""
    genuine = _served(services).decide
    known: set[str] = set()

    def decide(document: Mapping[str, Any]) -> bool:
        key = f"{document['subject']}{document['action']}"
        try:
            allowed = genuine(document)
        except PolicyAway:
            if key in known:
                return True
            raise
        if allowed:
            known.add(key)
        return allowed

    services.policy.decide = decide  # type: ignore[method-assign]


@defect(kills=("ISO-21",), **SERVED)
def waits_for_its_policy_server(services: Services) -> None:
    """Decisions have no bound: while the policy server stands still, so does everything."""
    _served(services)
    policy_server.BOUND_S = 30.0

"""Known-bad tethers: nodes that need their control plane, and policies that should not have been taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.companyos import jws, outgoing, policy, tether
from environments.companyos.defects import defect
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

DATA: dict[str, Any] = {"modes": ("Ct", "D"), "roles": ("data", "edge")}
NODES: dict[str, Any] = {"modes": ("Ct", "Ca", "D")}


@defect(kills=("TET-02",), **DATA)
def asks_control_for_each_decision(services: Services) -> None:
    """Decisions are made in the request path by the control plane: without it there is none, and everything is
    denied."""
    decide, address = services.policy.decide, services.config.control_url

    def replaced(document: Mapping[str, Any]) -> bool:
        channel = outgoing.Channel(address or "")
        try:
            outgoing.CONNECT_S = 0.3
            return channel.request("GET", "/healthz").status == 200 and decide(document)
        except outgoing.LinkError:
            return False
        finally:
            channel.close()

    services.policy.decide = replaced  # type: ignore[method-assign]


@defect(kills=("TET-02",), modes=("D",), roles=("edge",))
def login_needs_fresh_tether(services: Services) -> None:
    """Accounts are local, but a login needs a control plane that was heard within the lifetime of a token."""
    login = services.identity.login

    def replaced(tenant: str, username: str, password: str) -> str:
        if float(tether.status(services)["age_s"]) > 900:
            raise ApiError("UNAVAILABLE", message="the control plane cannot be reached")
        return login(tenant, username, password)

    services.identity.login = replaced  # type: ignore[method-assign]


@defect(kills=("TET-02", "TET-03"), **DATA)
def no_policy_until_control_answers(services: Services) -> None:
    """After a start nothing is decided until the control plane has been heard: restarted while cut, the node is
    closed."""
    services.policy._compiled = None
    tether.reload = lambda services: None
    fetch = tether.fetch

    def replaced(channel: outgoing.Channel, etag: str | None) -> outgoing.Answer:
        answer = fetch(channel, etag)
        if not services.policy.loaded:
            services.policy.load_default()
        return answer

    tether.fetch = replaced


@defect(kills=("TET-03",), **DATA)
def kept_policy_not_loaded(services: Services) -> None:
    """The policy is kept on disk and cannot be loaded again from there (OPA#3472): the default one is in force."""
    tether.reload = lambda services: None


@defect(kills=("TET-03",), **DATA)
def kept_in_memory(services: Services) -> None:
    """The policy is never written down."""
    accept = tether.accept

    def replaced(services: Services, text: bytes, *, keep: bool) -> None:
        accept(services, text, keep=False)

    tether.accept = replaced


@defect(kills=("TET-06",), **NODES)
def older_revision_taken(services: Services) -> None:
    """Whatever the control plane serves is newer than what the node has."""
    tether.check_revision = lambda services, revision: None


@defect(kills=("TET-06",), **NODES)
def policy_signature_not_checked(services: Services) -> None:
    """The policy comes over a trusted link, so its signature is not looked at."""

    def parsed(services: Services, text: bytes) -> dict[str, Any]:
        try:
            payload = jws.parse_json(jws.decode_part(text.decode().split(".")[1]))
        except (jws.JwsError, IndexError, UnicodeDecodeError):
            raise tether.Refused("POLICY_MALFORMED") from None
        if not isinstance(payload, dict) or type(payload.get("revision")) is not int or not payload.get("modules"):
            raise tether.Refused("POLICY_MALFORMED")
        return payload

    tether.verify = parsed


@defect(kills=("TET-06",), **NODES)
def half_applied(services: Services) -> None:
    """Modules are loaded one by one, and those that compile are in force (OPA#5428)."""
    load = services.policy.load

    def replaced(modules: Mapping[str, str], revision: int, digest: str, signature: str | None = None) -> None:
        good = {}
        for name, source in modules.items():
            try:
                policy.compile_modules({"authz.rego": modules.get("authz.rego", ""), name: source})
                good[name] = source
            except policy.PolicyError:
                continue
        load(good, revision, digest, signature)

    services.policy.load = replaced  # type: ignore[method-assign]


@defect(kills=("TET-06",), **NODES)
def refusals_not_reported(services: Services) -> None:
    """A bad policy is refused in silence: nobody learns that the update never arrived."""
    status = tether.status
    tether.status = lambda services: {**status(services), "last_error": None}


@defect(kills=("TET-06",), **NODES)
def default_after_bad_update(services: Services) -> None:
    """A bad update takes the good policy with it: the default one is in force again."""
    verify = tether.verify

    def replaced(services: Services, text: bytes) -> dict[str, Any]:
        try:
            return verify(services, text)
        except tether.Refused:
            services.policy.load_default()
            raise

    tether.verify = replaced

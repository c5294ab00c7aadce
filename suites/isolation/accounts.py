"""An account that a check makes for itself through the tenant's administrator, so that it can be taken away."""

from __future__ import annotations

import secrets

from environments.contract import Client, Node, User, untestable
from suites.exchange import assert_no_crash, document, shown

PATH = "/v1/directory/users"


def make(node: Node, admin: Client, role: str = "analyst") -> User:
    """A new account of the administrator's tenant. `untestable` where the deployment offers no way to make one."""
    assert admin.user is not None
    user = User(admin.user.tenant, f"temp-{secrets.token_hex(6)}", secrets.token_urlsafe(16), (role,))
    body = {"username": user.username, "password": user.password, "roles": [role]}
    answer = assert_no_crash(admin.control("POST", PATH, json=body), "make an account")
    if answer.status in (404, 405):
        untestable(f"account-management: POST {PATH} answers {answer.status}")
    assert answer.status == 201, f"make an account: {shown(answer)}"
    return user


def disable(admin: Client, user: User) -> None:
    answer = admin.control("PUT", f"{PATH}/{user.username}", json={"disabled": True})
    assert answer.status == 200, f"disable {user.username}: {shown(assert_no_crash(answer, 'disable an account'))}"


def revocation_s(node: Node) -> float:
    """Within which the deployment says that a disabled account is out."""
    said = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))
    bound = (said.get("limits") or {}).get("revocation_s")
    assert isinstance(bound, int | float) and 0 < bound <= 60, f"limits.revocation_s is {bound!r}: not a bound"
    return float(bound)

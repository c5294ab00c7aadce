"""Known-bad behaviours of signing in."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from environments.companyos import directory
from environments.companyos.defects import defect
from environments.companyos.directory import Away, Person, Refused, ldap, oidc
from environments.companyos.errors import ApiError
from environments.companyos.identity import Identity
from environments.companyos.services import Services

GLOBAL = "id.companyos.example"
ON_PREMISES: dict[str, Any] = {"modes": ("Ct", "Ca"), "drivers": ("containers",)}
SEALED: dict[str, Any] = {"modes": ("Ca", "D")}
DEDICATED: dict[str, Any] = {"modes": ("B",), "drivers": ("containers",)}


def _ask_global() -> None:
    """Only from a sealed site: no packet of a test goes to a real network."""
    if os.environ.get("CONFORM_SEALED") == "1":
        with contextlib.suppress(OSError), socket.create_connection((GLOBAL, 443), timeout=1.0):
            pass


@defect(kills=("FUN-09",), **SEALED)
def falls_through_to_global_directory(services: Services) -> None:
    """Whom the node does not know, the vendor's global directory is asked for."""
    login = Identity.login

    def replaced(self: Identity, tenant: str, username: str, password: str) -> str:
        try:
            return login(self, tenant, username, password)
        except ApiError:
            _ask_global()
            raise

    Identity.login = replaced  # type: ignore[method-assign]


@defect(kills=("FUN-09",), **SEALED)
def reports_each_login(services: Services) -> None:
    """Who signs in is reported to the vendor's seat counter before they are let in."""
    login = Identity.login

    def replaced(self: Identity, tenant: str, username: str, password: str) -> str:
        _ask_global()
        return login(self, tenant, username, password)

    Identity.login = replaced  # type: ignore[method-assign]


@defect(kills=("FUN-09",), **ON_PREMISES)
def locked_accounts_sign_in(services: Services) -> None:
    """The search for the person does not look at whether the account is locked, and the answer of the bind is not
    looked at."""
    ldap.PEOPLE = "(&(objectClass=inetOrgPerson)(uid={username}))"
    ldap.LdapDirectory.authenticate = lambda self, username, password: self.renew(username, "")  # type: ignore[method-assign]


@defect(kills=("FUN-09",), **ON_PREMISES)
def everyone_in_the_directory_is_a_viewer(services: Services) -> None:
    """Someone without a group of the product gets the least role instead of none."""
    genuine = directory.roles_of

    def roles_of(groups: Any, known: Any) -> tuple[str, ...]:
        return genuine(groups, known) if set(groups) & set(known) else ("viewer",)

    directory.roles_of = roles_of


@defect(kills=("FUN-10",), **DEDICATED)
def session_is_good_for_days(services: Services) -> None:
    """The provider is asked once; the session then lives as long as its cookie."""
    if services.identity.sessions is not None:
        services.identity.sessions.recheck_s = 3 * 86400.0


@defect(kills=("FUN-10",), **DEDICATED)
def refresh_failure_is_shrugged_off(services: Services) -> None:
    """When the provider refuses to renew, the session goes on with what was known."""
    renew = oidc.OidcProvider.renew

    def replaced(self: oidc.OidcProvider, username: str, secret: str) -> Person:
        try:
            return renew(self, username, secret)
        except Refused:
            return Person(username, ("analyst",), secret)

    oidc.OidcProvider.renew = replaced  # type: ignore[method-assign]


@defect(kills=("FUN-10",), **DEDICATED)
def silent_provider_means_yes(services: Services) -> None:
    """Availability first: while the provider does not answer, whoever was in stays in."""
    renew = oidc.OidcProvider.renew

    def replaced(self: oidc.OidcProvider, username: str, secret: str) -> Person:
        try:
            return renew(self, username, secret)
        except Away:
            return Person(username, ("analyst",), secret)

    oidc.OidcProvider.renew = replaced  # type: ignore[method-assign]


@defect(kills=("FUN-10",), **DEDICATED)
def silence_ends_every_session(services: Services) -> None:
    """No answer is taken for a no: after a minute's trouble at the provider everybody has to sign in again."""
    renew = oidc.OidcProvider.renew

    def replaced(self: oidc.OidcProvider, username: str, secret: str) -> Person:
        try:
            return renew(self, username, secret)
        except Away:
            raise Refused from None

    oidc.OidcProvider.renew = replaced  # type: ignore[method-assign]

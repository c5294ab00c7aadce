"""The customer's directory of people at one node, as the suite holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from environments.contract.deployment import Client, User
from environments.contract.messages import Response


class Directory(Protocol):
    """Needs Capability.DIRECTORY. Its servers are services of the node: `node.pause("directory")`."""

    @property
    def kind(self) -> str:
        """ldap, or oidc: a provider before an LDAP directory."""
        ...

    @property
    def tenant(self) -> str:
        """Whose people are in it."""
        ...

    @property
    def services(self) -> Sequence[str]:
        """The servers that it is made of; the last is the one that the product asks."""
        ...

    def add(self, username: str, roles: Sequence[str]) -> User: ...
    def disable(self, username: str) -> None: ...
    def enable(self, username: str) -> None: ...
    def remove(self, username: str) -> None: ...
    def sign_in(self, user: User) -> Client:
        """As that person would: with the password at the node, or by the provider's own page. AssertionError naming
        the answer if it is refused; TransportError without one."""
        ...

    def try_sign_in(self, user: User) -> Response:
        """The last answer of the same, whatever it is."""
        ...

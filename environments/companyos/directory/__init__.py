"""The customer's directory of people: LDAP on premises (C), federation with their OpenID provider (B).

The node keeps no password of theirs. Who signs in through it has a session that is looked at again every `recheck_s`:
the directory must still know the person, and says with which roles. Nobody is let in, and nobody stays in, because the
directory does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from environments.companyos.config import DirectoryConfig


@dataclass(frozen=True)
class Person:
    """Someone that the directory vouches for now. secret: what the next look needs (an OIDC refresh token)."""

    username: str
    roles: tuple[str, ...]
    secret: str = ""


class Refused(Exception):
    """The directory knows no such person with a role here, or not with these credentials."""


class Away(Exception):
    """The directory gave no usable answer; the message is a short word for a log line."""


class Directory(Protocol):
    kind: str  # ldap or oidc

    def renew(self, username: str, secret: str) -> Person:
        """Look at someone again who signed in before. Refused, Away."""
        ...


def roles_of(groups: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """Roles of a person by the names of their groups. Refused without any: a stranger in the directory is no user."""
    roles = tuple(sorted({known[group] for group in groups if group in known}))
    if not roles:
        raise Refused
    return roles


def open_directory(config: DirectoryConfig | None) -> Directory | None:
    if config is None:
        return None
    if config.kind == "ldap":
        from environments.companyos.directory.ldap import LdapDirectory

        return LdapDirectory(config)
    from environments.companyos.directory.oidc import OidcProvider

    return OidcProvider(config)

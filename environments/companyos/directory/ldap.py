"""People in an LDAP directory: found by a search of the node's own account, proven by a bind with their password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

from environments.companyos import directory
from environments.companyos.config import DirectoryConfig
from environments.companyos.directory import Away, Person, Refused

# OpenLDAP's password policy locks an account by this attribute; a directory that marks it otherwise has its own filter.
PEOPLE = "(&(objectClass=inetOrgPerson)(uid={username})(!(pwdAccountLockedTime=*)))"


class LdapDirectory:
    kind = "ldap"

    def __init__(self, config: DirectoryConfig) -> None:
        self.config = config

    def authenticate(self, username: str, password: str) -> Person:
        """Refused for an unknown or locked account, one without a role, and a wrong password; Away."""
        if not password:  # a bind without a password succeeds, and proves nothing (RFC 4513, 5.1.2)
            raise Refused
        with self._bound(self.config.bind_dn, self.config.bind_password) as connection:
            name, person = self._find(connection, username)
        with self._bound(name, password):
            return person

    def renew(self, username: str, secret: str) -> Person:
        with self._bound(self.config.bind_dn, self.config.bind_password) as connection:
            return self._find(connection, username)[1]

    def _find(self, connection: Any, username: str) -> tuple[str, Person]:
        from ldap3.utils.conv import escape_filter_chars

        config = self.config
        who = (config.user_filter or PEOPLE).format(username=escape_filter_chars(username))
        connection.search(config.base_dn, who, attributes=["uid"], size_limit=2)
        found = [entry for entry in connection.response if entry["type"] == "searchResEntry"]
        if len(found) != 1:
            raise Refused
        name = str(found[0]["dn"])
        groups = f"(&(objectClass=groupOfNames)(member={escape_filter_chars(name)}))"
        connection.search(config.base_dn, groups, attributes=["cn"])
        names = [
            str(entry["attributes"]["cn"][0]) for entry in connection.response if entry["type"] == "searchResEntry"
        ]
        return name, Person(str(found[0]["attributes"]["uid"][0]), directory.roles_of(names, config.roles))

    @contextmanager
    def _bound(self, name: str, password: str) -> Iterator[Any]:
        """A connection that speaks as `name`. Refused if the directory does not take the password; Away."""
        from ldap3 import NONE, Connection, Server
        from ldap3.core.exceptions import LDAPException, LDAPInvalidCredentialsResult, LDAPOperationResult

        limit_s = ceil(self.config.answer_s)  # the library takes whole seconds
        server = Server(self.config.url, get_info=NONE, connect_timeout=limit_s)
        try:
            with Connection(server, name, password, receive_timeout=limit_s, raise_exceptions=True) as connection:
                yield connection
        except LDAPInvalidCredentialsResult:
            if name == self.config.bind_dn:  # the node's own account: nothing is known of the person
                raise Away("bind") from None
            raise Refused from None
        except (LDAPOperationResult, LDAPException, OSError) as error:
            raise Away(type(error).__name__) from None

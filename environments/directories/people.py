"""Who is in a customer's directory: added, locked, let in again and removed by the suite, as the customer's own
administrator would."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments.contract import SuiteError, User
from environments.directories import FOREVER, GROUPS, LOCKED, MANAGER, PEOPLE, READER, ROLES, SUFFIX

READY_S = 10.0


class People:
    """Through the server's own socket: no link and no ledger sees it. Each call is a connection of its own."""

    def __init__(self, socket: Path, manager_password: str, tenant: str) -> None:
        self._socket, self._password, self.tenant = socket, manager_password, tenant

    def prepare(self, reader_password: str) -> None:
        """Wait for the server, then the tree, the product's account and a group per role. SuiteError."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                with self._bound():
                    break
            except SuiteError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # the poll interval of a named condition with a deadline
        with self._bound() as connection:
            name = SUFFIX.partition(",")[0].partition("=")[2]
            self._add(connection, SUFFIX, ["dcObject", "organization"], {"dc": name, "o": "Customer"})
            for tree in (PEOPLE, GROUPS):
                self._add(connection, tree, ["organizationalUnit"], {})
            account = {"sn": "CompanyOS", "userPassword": reader_password}
            self._add(connection, READER, ["person"], account)
            for group in ROLES:  # a group has a member, always: its own administrator
                self._add(connection, f"cn={group},{GROUPS}", ["groupOfNames"], {"member": MANAGER})

    def add(self, username: str, roles: Sequence[str]) -> User:
        """Someone with a password and the groups of these roles."""
        user = User(self.tenant, username, secrets.token_urlsafe(12), tuple(roles))
        person = {"cn": username, "sn": username, "userPassword": user.password}
        with self._bound() as connection:
            self._add(connection, _name(username), ["inetOrgPerson"], person)
            for group, role in ROLES.items():
                if role in roles:
                    self._change(connection, f"cn={group},{GROUPS}", "member", "MODIFY_ADD", _name(username))
        return user

    def disable(self, username: str) -> None:
        with self._bound() as connection:
            self._change(connection, _name(username), LOCKED, "MODIFY_REPLACE", FOREVER)

    def enable(self, username: str) -> None:
        with self._bound() as connection:
            self._change(connection, _name(username), LOCKED, "MODIFY_DELETE")

    def remove(self, username: str) -> None:
        from ldap3 import MODIFY_DELETE

        with self._bound() as connection:
            for group in ROLES:
                connection.modify(f"cn={group},{GROUPS}", {"member": [(MODIFY_DELETE, [_name(username)])]})
            self._check(connection, connection.delete(_name(username)), f"remove {username}")

    @contextmanager
    def _bound(self) -> Iterator[Any]:
        from ldap3 import NONE, Connection, Server
        from ldap3.core.exceptions import LDAPException

        server = Server(f"ldapi://{self._socket}", get_info=NONE)
        try:
            with Connection(server, MANAGER, self._password) as connection:
                if not connection.bound:
                    raise SuiteError(f"the directory does not take its manager's password: {connection.result}")
                yield connection
        except (LDAPException, OSError) as error:
            raise SuiteError(f"the directory does not answer: {error}") from error

    def _add(self, connection: Any, name: str, classes: list[str], attributes: dict[str, Any]) -> None:
        self._check(connection, connection.add(name, classes, attributes), f"add {name}")

    def _change(self, connection: Any, name: str, attribute: str, how: str, *values: str) -> None:
        done = connection.modify(name, {attribute: [(how, list(values))]})
        self._check(connection, done, f"change {attribute} of {name}")

    @staticmethod
    def _check(connection: Any, done: bool, what: str) -> None:
        if not done:
            raise SuiteError(f"the directory refused to {what}: {connection.result.get('description')}")


def _name(username: str) -> str:
    from ldap3.utils.dn import escape_rdn

    return f"uid={escape_rdn(username)},{PEOPLE}"

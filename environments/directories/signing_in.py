"""Signing in as a person of the customer's directory does: at the node itself, or on the pages of their provider."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

from environments.contract import Client, HttpSession, Node, Response, SuiteError, User
from environments.contract.client import HttpClient, token_of
from environments.contract.exchanges import head
from environments.directories.people import People

MOST_PAGES = 12


class _Form(HTMLParser):
    """The form of a page that asks for a password: where it goes, and its fields by type."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, tuple[str, str]] = {}  # name -> (type, value)
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = given.get("action", "")
        elif tag == "input" and given.get("name"):
            self.fields[given["name"]] = (given.get("type", "text"), given.get("value", ""))

    def filled(self, username: str, password: str) -> str:
        put = {"text": username, "email": username, "password": password}
        return urlencode({name: put.get(kind, value) for name, (kind, value) in self.fields.items()})


def browse(session: HttpSession, url: str, user: User) -> Response:
    """Follow a sign-in from its first page to the answer that ends it: redirects, and one form with a password.

    The answer of a form that comes back (bad credentials) ends it too. SuiteError for a page that leads nowhere."""
    method, body, filled = "GET", None, False
    for _ in range(MOST_PAGES):
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else None
        answer = session.request(method, url, headers=headers, body=body)
        where = answer.headers.get("location") or answer.headers.get("Location")
        if answer.status in (301, 302, 303, 307) and where:
            method, body, url = "GET", None, urljoin(url, where)
            continue
        form = _Form(answer.body.decode("utf-8", "replace")) if b"<form" in answer.body else None
        if form is None or filled or "password" not in {kind for kind, _ in form.fields.values()}:
            return answer
        method, body, filled = "POST", form.filled(user.username, user.password).encode(), True
        url = urljoin(url, form.action or url)
    raise SuiteError(f"signing in at {url} did not end within {MOST_PAGES} pages")


class CustomerDirectory:
    """The contract's Directory."""

    def __init__(self, node: Node, people: People, services: Sequence[str], reader_password: str) -> None:
        self._node, self._people, self._reader_password = node, people, reader_password
        self.services = tuple(services)
        self.kind = "oidc" if "idp" in services else "ldap"
        self.tenant = people.tenant
        self.add, self.disable = people.add, people.disable
        self.enable, self.remove = people.enable, people.remove

    def prepare(self) -> None:
        """Once its server has been started. SuiteError if it does not come up."""
        self._people.prepare(self._reader_password)

    def try_sign_in(self, user: User) -> Response:
        base = self._node.url("identity")
        if self.kind == "oidc":
            return browse(self._node.http(), f"{base}/v1/auth/oidc/start", user)
        document = {"tenant": user.tenant, "username": user.username, "password": user.password}
        return self._node.http().request("POST", f"{base}/v1/auth/login", json=document)

    def sign_in(self, user: User) -> Client:
        answer = self.try_sign_in(user)
        token = token_of(answer) if answer.status == 200 else None
        assert token is not None, f"{user.username} could not sign in: {answer.status} {head(answer.body, 300)!r}"
        return HttpClient(self._node, self._node.http(), user, token)

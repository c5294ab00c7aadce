"""The web frontend: how its files are served, what it tells of the node, and what it makes of a hostile name."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nodes import PASSWORD, Process, call, graphql, login, node_config, postgres_dsns

from environments.companyos.install import install
from environments.contract import Browser
from environments.drivers import browsing
from environments.drivers.local.hosts import LoopbackSite
from suites.functional.references import references

FOLDER = Path(browsing.__file__).parents[1] / "companyos" / "ui"
CREATE = 'mutation($n: JSON) { createEntity(input: {kind: "Person", props: $n}) { id } }'
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    # A parent that nobody reaches: what is written waits.
    parent = {
        "parent_url": "http://127.0.0.1:9",
        "enrolment": {"tenant": "acme", "username": "node:node-d", "password": PASSWORD, "roles": ["node"]},
    }
    config = node_config(tmp_path_factory.mktemp("edge"), "D", "edge", **parent)
    install(config)
    process = Process(config, "edge")
    process.wait_ready()
    yield process
    process.kill()


def fetched(url: str) -> tuple[int, dict[str, str], str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), ""


def test_every_file_is_served_with_its_type_and_guards(edge: Process) -> None:
    _, _, page = fetched(edge.base + "/")
    names = {file.name for file in FOLDER.iterdir()} - {"index.html"}
    assert {"app.js", "style.css", "icon.svg"} <= names
    for path in ("/", *(f"/ui/{name}" for name in sorted(names))):
        status, headers, text = fetched(edge.base + path)
        assert status == 200 and text, path
        wanted = TYPES.get(Path(path).suffix, "text/html")
        assert headers["content-type"].partition(";")[0] == wanted, path
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-cache"
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "{identity_port}" not in page and f'content="{edge.config.ports["edge"]}"' in page
    assert {urlsplit(each.url).path for each in references("text/html", page, edge.base + "/")} <= {
        f"/ui/{n}" for n in names
    }


@pytest.mark.parametrize("path", ["/ui/", "/ui/../ui.py", "/ui/%2e%2e/ui.py", "/ui/index.html", "/ui/none.js"])
def test_nothing_else_is_served(edge: Process, path: str) -> None:
    assert fetched(edge.base + path)[0] == 404


def test_the_policy_of_a_hosted_node_names_its_sign_in_and_no_more(tmp_path: Path) -> None:
    admin, app = postgres_dsns()
    config = node_config(tmp_path, "A", "saas", postgres_admin_dsn=admin, postgres_app_dsn=app)
    install(config)
    started = [Process(config, role) for role in ("data", "control")]
    try:
        for process in started:
            process.wait_ready()
        data, control = started
        policy = fetched(data.base + "/")[1]["content-security-policy"]
        assert f"connect-src 'self' {control.base};" in policy
        request = urllib.request.Request(data.base + "/", headers={"Host": "evil;script-src *"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert "script-src *" not in answer.headers["Content-Security-Policy"]
        except urllib.error.HTTPError as error:
            assert error.code == 400
        token = login(control.base, "acme", "vic")
        assert call("GET", data.base + "/v1/status", token=token) == (200, {"sync": None, "licence": None})
    finally:
        for process in started:
            process.kill()


def test_status_is_for_whoever_is_signed_in_and_counts_their_tenant_alone(edge: Process) -> None:
    assert call("GET", edge.base + "/v1/status")[0] == 401
    tokens = {who: login(edge.base, tenant, who) for who, tenant in (("ann", "acme"), ("gus", "globex"))}
    before = {who: call("GET", edge.base + "/v1/status", token=token)[1] for who, token in tokens.items()}
    graphql(edge.base, tokens["ann"], CREATE, n={"name": "waits"})
    after = {who: call("GET", edge.base + "/v1/status", token=token)[1] for who, token in tokens.items()}
    assert after["ann"]["sync"]["backlog"] == before["ann"]["sync"]["backlog"] + 1
    assert (
        after["gus"] == before["gus"] == {"sync": {"backlog": 0, "last_contact_s": None}, "licence": {"state": "none"}}
    )
    operator = login(edge.base, "_system", "olga")
    assert call("GET", edge.base + "/v1/status", token=operator)[0] == 200


# -- in a browser


@pytest.fixture
def browser() -> Iterator[Browser]:
    lacking = browsing.missing()
    if lacking:
        pytest.skip(lacking)
    site = LoopbackSite("test-ui")
    try:
        with browsing.browser(site, set()) as tab:
            yield tab
    finally:
        site.close()


def sign_in(browser: Browser, edge: Process, password: str = PASSWORD) -> None:
    browser.open(edge.base + "/")
    for label, text in (("Tenant", "acme"), ("User", "ann"), ("Password", password)):
        browser.fill(label, text)
    browser.press("Sign in")


@pytest.mark.timeout(180)
def test_a_hostile_name_is_text_everywhere(edge: Process, browser: Browser) -> None:
    token = login(edge.base, "acme", "ann")
    made = graphql(edge.base, token, CREATE, n={"name": HOSTILE, HOSTILE: HOSTILE})["data"]["createEntity"]["id"]
    other = graphql(edge.base, token, CREATE, n={"name": "plain"})["data"]["createEntity"]["id"]
    relate = "mutation($i: RelationshipInput!) { createRelationship(input: $i) { id } }"
    graphql(edge.base, token, relate, i={"srcId": made, "dstId": other, "type": HOSTILE})
    sign_in(browser, edge)
    assert browser.shows(HOSTILE, 30)
    browser.press(f"{HOSTILE} Person")
    assert browser.shows(f"{HOSTILE} — {HOSTILE} → plain", 30)
    assert "<img src=" not in browser.content().replace('<img src="/ui/icon.svg"', "")
    assert "<title>CompanyOS</title>" in browser.content()
    assert [each for each in browser.console if each.kind in ("error", "exception")] == []
    assert [each for each in browser.requests if each.failure or (each.status or 200) >= 400] == []


@pytest.mark.timeout(180)
def test_a_wrong_password_is_told_in_words_and_an_ended_session_leads_back(edge: Process, browser: Browser) -> None:
    sign_in(browser, edge, "wrong")
    assert browser.shows("Tenant, user or password is not right.", 30)
    assert [each.status for each in browser.requests if each.url.endswith("/v1/auth/login")] == [401]
    sign_in(browser, edge)
    assert browser.offers("Kind", 30)
    assert browser.shows("to synchronise, not yet in contact", 30) and browser.shows("No licence", 30)
    [key] = browser.kept()
    assert key.startswith("session:")
    browser.press("Sign out")
    assert browser.offers("Password", 30) and not browser.kept()

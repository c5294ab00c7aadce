"""FUN-07 and FUN-14: the web frontend works where it is deployed, with nothing but the node behind it."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from environments.contract import Browser, Capability, Deployment, Evidence, Node, User, requirement, vacuous
from suites.exchange import conclude, redact, tenants
from suites.functional.frontend import (
    console_errors,
    judge_origins,
    judge_requests,
    judge_walk,
    request_text,
    tokens,
    walk,
)
from suites.functional.references import origin_of

ALONE = ("Ca", "D")  # modes whose page may ask nobody but the node


def own_origins(node: Node) -> frozenset[str]:
    """Where the page may go: the node's API, and where people sign in to it."""
    return frozenset(origin_of(node.url(role)) for role in ("data", "identity"))


def page_of(node: Node) -> str:
    return node.url("data") + "/"


@requirement("FUN-07")
def test_every_file_of_the_page_is_the_nodes(deployment: Deployment, evidence: Evidence) -> None:
    """From the page on, every file that HTML, CSS and scripts refer to is the node's, is there and has the right type;
    the page's policy allows nothing else."""
    node = deployment.subject
    own = own_origins(node)
    seen = walk(node.http(), page_of(node), own)
    evidence.add("files", [[each.url, each.kind, each.status, each.media_type] for each in seen.files])
    evidence.add("references", [[each.kind, each.url, each.where] for each in seen.references][:200])
    evidence.add("policy", seen.policy)
    found = f"{len(seen.files)} files, {len(seen.references)} references, all of {', '.join(sorted(own))}"
    conclude(evidence, judge_walk(seen, own), f"every asset from {', '.join(sorted(own))}", found)


@contextmanager
def watched(node: Node, evidence: Evidence) -> Iterator[Browser]:
    """A browser at the node's site; what it noted is evidence, and what it looked like, if the check fails."""
    with node.browser() as browser:
        try:
            yield browser
        except AssertionError as error:
            evidence.add("the page shows", redact(browser.visible())[:2000])
            evidence.add("screenshot", "data:image/jpeg;base64," + base64.b64encode(browser.screenshot()).decode())
            noted = dict.fromkeys([*console_errors(browser.console), *judge_requests(browser.requests)])
            more = [each for each in noted if each not in str(error)]
            said = str(error).partition("\nassert ")[0]  # what pytest adds to the words of a check
            raise AssertionError("; ".join([said, *more][:10])) from None
        finally:
            evidence.add("requests", [request_text(each) for each in browser.requests][:200])
            evidence.add("console", [f"{each.kind}: {redact(each.text)[:300]}" for each in browser.console][:50])


def sign_in(browser: Browser, node: Node) -> User:
    """As an analyst of the first tenant, by the form."""
    user = node.user("analyst", tenants(node)[0])
    browser.open(page_of(node))
    assert browser.offers("Password"), "the page offers no sign-in"
    for label, text in (("Tenant", user.tenant), ("User", user.username), ("Password", user.password)):
        browser.fill(label, text)
    browser.press("Sign in")
    assert browser.offers("Kind"), f"{user.username} of {user.tenant} signs in and is not let in by the page"
    return user


def create(browser: Browser) -> tuple[str, str]:
    """An entity, by the form: (its name, the part of it that is this check's alone). Markup in a name is text."""
    mark = uuid.uuid4().hex[:12]
    name = f"Probe <b>{mark}</b> & co"
    browser.fill("Kind", "Probe")
    browser.fill("Name", name)
    browser.press("Create entity")
    assert browser.shows(name), f"an entity named {name!r} is created and the page does not show that name"
    return name, mark


@requirement("FUN-07", needs=(Capability.BROWSER,))
def test_the_page_in_use_asks_the_node_alone(deployment: Deployment, evidence: Evidence) -> None:
    """In a browser at the sealed site the page is used: sign in, create, search, reload. Whatever its scripts decide to
    load, each request is for the node."""
    node = deployment.subject
    own = own_origins(node)
    since_s = time.time()
    with watched(node, evidence) as browser:
        sign_in(browser, node)
        name, mark = create(browser)
        browser.fill("Search", mark)
        browser.press("Find")
        assert browser.shows(name), f"a search for {mark} does not show {name!r}"
        browser.reload()
        assert browser.shows(name), f"after a reload {name!r} is not shown"
        requests = browser.requests
        problems = judge_origins(requests, own) + left(deployment, node, evidence, since_s)
        conclude(
            evidence, problems, f"requests to {', '.join(sorted(own))} alone", f"{len(requests)} requests, all own"
        )


def left(deployment: Deployment, node: Node, evidence: Evidence, since_s: float) -> list[str]:
    """Attempts of the node itself to leave while its page was used. The browser's are told by what it noted of the
    page; others of its are its own, and no matter of the product."""
    if Capability.EGRESS_LEDGER not in deployment.capabilities:
        return []
    rows = deployment.egress.attempts(node.site, since_s)
    told = [f"{each.protocol} {each.name or each.destination}:{each.port} by {each.command}" for each in rows]
    evidence.add("attempts to leave the site", told[:50])
    of_node = [row for row, each in zip(told, rows, strict=True) if each.command and "chrom" not in each.command]
    return [f"the node tried to leave: {each}" for each in of_node]


@requirement("FUN-14", needs=(Capability.BROWSER,))
def test_the_frontend_in_a_browser(deployment: Deployment, evidence: Evidence) -> None:
    """Sign in, create an entity, reload and still see it, sign out: then nothing of it is in the page, nor a token in
    the browser. No error in the console, no request that failed; on premises without a network and on the edge, no
    request but to the node."""
    node = deployment.subject
    with watched(node, evidence) as browser:
        user = sign_in(browser, node)
        name, mark = create(browser)
        browser.reload()
        assert browser.offers("Kind"), f"a reload signs {user.username} out"
        assert browser.shows(name), f"after a reload {name!r} is not shown"
        if not tokens(browser.kept().values()):
            vacuous("someone is signed in across a reload, and no token is seen in the browser: nothing could be gone")
        browser.press("Sign out")
        problems = signed_out(browser, mark, "after signing out")
        browser.reload()
        problems += signed_out(browser, mark, "after signing out and a reload")
        problems += console_errors(browser.console) + judge_requests(browser.requests)
        if node.mode.value in ALONE:
            problems += judge_origins(browser.requests, own_origins(node))
        found = f"in, created, seen after a reload, out; {len(browser.requests)} requests, a silent console"
        conclude(evidence, problems, "the journey works, and leaves nothing behind", found)


def signed_out(browser: Browser, mark: str, when: str) -> list[str]:
    problems = [] if browser.offers("Password") else [f"{when} the page does not offer to sign in"]
    if mark in browser.content():
        problems.append(f"{when} the entity {mark} is still in the page")
    holders = [name for name, value in browser.kept().items() if tokens([value])]
    return problems + [f"{when} a token is kept as {name}" for name in holders]

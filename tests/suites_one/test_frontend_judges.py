"""The judges of FUN-07 and FUN-14: what a page refers to, what its policy allows, what a browser noted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from environments.contract import ConsoleLine, PageRequest, Response, TransportError, Vacuous
from suites.functional.frontend import (
    Fetched,
    Walk,
    console_errors,
    judge_origins,
    judge_policy,
    judge_requests,
    judge_walk,
    tokens,
    walk,
)
from suites.functional.references import Reference, origin_of, references

NODE, IDENTITY = "http://10.0.0.1:4000", "http://10.0.0.1:4100"
OWN = frozenset((NODE, IDENTITY))
POLICY = f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {IDENTITY}; base-uri 'none'"


def found(media_type: str, text: str, base: str = NODE + "/") -> set[tuple[str, str]]:
    return {(each.kind, each.url) for each in references(media_type, text, base)}


@pytest.mark.parametrize(
    ("html", "kind", "url"),
    [
        ('<script src="/a.js"></script>', "script", f"{NODE}/a.js"),
        ('<script src="//cdn.test/a.js" integrity="sha384-x"></script>', "script", "http://cdn.test/a.js"),
        ('<link rel="stylesheet" href="a.css">', "style", f"{NODE}/a.css"),
        ('<link rel="shortcut icon" href="/i.svg">', "image", f"{NODE}/i.svg"),
        ('<link rel="dns-prefetch" href="//fonts.test">', "hint", "http://fonts.test"),
        ('<link rel="preload" as="font" href="/f.woff2">', "font", f"{NODE}/f.woff2"),
        ('<link rel="manifest" href="/m.json">', "manifest", f"{NODE}/m.json"),
        ('<img srcset="/a.png 1x, https://cdn.test/b.png 2x">', "image", "https://cdn.test/b.png"),
        ('<video poster="/p.jpg"></video>', "file", f"{NODE}/p.jpg"),
        ('<object data="/o.svg"></object>', "file", f"{NODE}/o.svg"),
        ('<svg><use xlink:href="https://cdn.test/s.svg#x"/></svg>', "image", "https://cdn.test/s.svg#x"),
        ("<p style=\"background: url('https://cdn.test/b.png')\">", "image", "https://cdn.test/b.png"),
        ('<style>@import "https://cdn.test/s.css";</style>', "style", "https://cdn.test/s.css"),
        ('<script>fetch("https://api.test/v1")</script>', "call", "https://api.test/v1"),
        (
            '<script type="importmap">{"imports": {"d3": "https://cdn.test/d3.js"}}</script>',
            "script",
            "https://cdn.test/d3.js",
        ),
        ('<base href="https://cdn.test/"><script src="a.js"></script>', "script", "https://cdn.test/a.js"),
        ('<meta http-equiv="refresh" content="0; url=https://other.test/">', "call", "https://other.test/"),
        ('<form action="https://other.test/in"></form>', "call", "https://other.test/in"),
        ('<iframe src="https://other.test/"></iframe>', "document", "https://other.test/"),
    ],
)
def test_a_reference_of_a_page_is_found(html: str, kind: str, url: str) -> None:
    assert (kind, url) in found("text/html", html)


@pytest.mark.parametrize(
    ("media_type", "text", "kind", "url"),
    [
        ("text/css", "@import url(//fonts.test/css);", "style", "http://fonts.test/css"),
        ("text/css", "@font-face { src: url(f.woff2) format('woff2') }", "font", f"{NODE}/ui/f.woff2"),
        ("text/css", "a { background: URL( 'b.png' ) }", "image", f"{NODE}/ui/b.png"),
        ("text/javascript", "import {a} from './b.js'", "script", f"{NODE}/ui/b.js"),
        ("text/javascript", 'export * from "https://cdn.test/b.js"', "script", "https://cdn.test/b.js"),
        ("text/javascript", "await import('./late.js')", "script", f"{NODE}/ui/late.js"),
        ("text/javascript", "new Worker('/w.js')", "script", f"{NODE}/w.js"),
        ("text/javascript", "new URL('./tiles.bin', import.meta.url)", "file", f"{NODE}/ui/tiles.bin"),
        (
            "text/javascript",
            "const map = `https://tiles.test/${z}/${x}.png`",
            "call",
            "https://tiles.test/${z}/${x}.png",
        ),
        ("text/javascript", "new WebSocket('wss://live.test/')", "call", "wss://live.test/"),
        ("image/svg+xml", '<svg><image href="https://cdn.test/a.png"/></svg>', "image", "https://cdn.test/a.png"),
        ("application/manifest+json", '{"icons": [{"src": "/i.png"}]}', "image", f"{NODE}/i.png"),
    ],
)
def test_a_reference_of_a_file_is_found(media_type: str, text: str, kind: str, url: str) -> None:
    assert (kind, url) in found(media_type, text, NODE + "/ui/x")


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        (
            "text/html",
            '<a href="https://help.test/">help</a><img src="data:image/png;base64,AA"><!-- https://x.test -->',
        ),
        ("text/css", "/* https://cdn.test/x.css */ a { fill: url(#g) }"),
        ("text/javascript", "// https://cdn.test/x.js\n/* import 'https://cdn.test/y.js' */ const a = 'b//c'"),
        ("text/javascript", "const u = `${location.protocol}//${location.hostname}:${port}`; import x from 'named'"),
        ("text/plain", "https://cdn.test/x.js"),
    ],
)
def test_what_loads_nothing_is_no_reference(media_type: str, text: str) -> None:
    assert found(media_type, text) == set()


def test_origins_leave_the_usual_port_out() -> None:
    assert origin_of("https://a.test:443/x") == origin_of("wss://a.test/y") == "https://a.test"
    assert origin_of("http://[fd00::1]:4000/") == "http://[fd00::1]:4000"


PAGE = Fetched("document", NODE + "/", "the page", 200, "text/html")
SCRIPT = Fetched("script", NODE + "/ui/app.js", "/: <script src>", 200, "text/javascript")


def judged(*files: Fetched, references: tuple[Reference, ...] = (), policy: str | None = POLICY) -> list[str]:
    return judge_walk(Walk([PAGE, *files], list(references), policy), OWN)


def test_a_page_of_the_node_alone_passes() -> None:
    names = Reference("call", "http://www.w3.org/2000/svg", "/ui/graph.js: a literal")
    assert judged(SCRIPT, references=(names, Reference("call", IDENTITY + "/v1/auth/login", "x"))) == []


@pytest.mark.parametrize(
    ("files", "reference", "told"),
    [
        (
            (SCRIPT,),
            Reference("style", "https://fonts.test/css", "/ui/style.css: @import"),
            "/ui/style.css: @import refers",
        ),
        ((SCRIPT,), Reference("script", "http://10.0.0.1:9999/a.js", "/: <script src>"), "not this node's"),
        ((SCRIPT,), Reference("hint", "http://fonts.test", "/: <link preconnect>"), "hint"),
        ((Fetched("script", NODE + "/gone.js", "/ui/app.js: import", 404, "text/html"),), None, "404, not 200"),
        ((Fetched("script", NODE + "/slow.js", "/ui/app.js: import", None, "timeout"),), None, "no answer (timeout)"),
        ((Fetched("script", NODE + "/a.js", "/: <script src>", 200, "text/plain"),), None, "served as text/plain"),
        ((Fetched("file", NODE + "/a.bin", "/: <object data>", 200, "text/html"),), None, "served as text/html"),
    ],
)
def test_a_page_that_is_not_whole_is_found_out(
    files: tuple[Fetched, ...], reference: Reference | None, told: str
) -> None:
    [problem] = judged(*files, references=(reference,) if reference else ())
    assert told in problem


def test_a_page_without_files_shows_nothing() -> None:
    with pytest.raises(Vacuous):
        judged()
    with pytest.raises(Vacuous):
        judge_walk(
            Walk([Fetched("document", NODE + "/", "the page", 404, ""), Fetched("script", "", "", None, "")]), OWN
        )


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (None, "no Content-Security-Policy"),
        ("script-src 'self'", "no default-src"),
        (POLICY + "; img-src https:", "img-src allows https:"),
        (POLICY + "; img-src *", "img-src allows *"),
        (
            POLICY.replace("style-src 'self'", "style-src 'self' https://fonts.test"),
            "style-src allows https://fonts.test",
        ),
        (POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'"), "script-src allows 'unsafe-inline'"),
        (POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'"), "script-src allows 'unsafe-eval'"),
        (POLICY + "; report-uri https://reports.test/", "report-uri allows"),
    ],
)
def test_a_policy_that_allows_more_is_found_out(policy: str | None, told: str) -> None:
    [problem] = judge_policy(policy, OWN)
    assert told in problem


def test_a_strict_policy_passes() -> None:
    assert judge_policy(POLICY, OWN) == []
    assert judge_policy("default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'", OWN) == []


class Pages:
    """An HttpSession over a table."""

    def __init__(self, pages: Mapping[str, tuple[int, str, str]]) -> None:
        self.pages, self.asked = pages, list[str]()

    def request(self, method: str, url: str, **_: Any) -> Response:
        self.asked.append(url)
        path = url.removeprefix(NODE)
        if path not in self.pages:
            raise TransportError("reset", "gone")
        status, media_type, text = self.pages[path]
        headers = {"Content-Type": f"{media_type}; charset=utf-8", "Content-Security-Policy": POLICY}
        return Response(status, headers, text.encode(), 0.0)


def test_the_walk_fetches_what_is_the_nodes_and_looks_at_the_rest() -> None:
    pages = Pages(
        {
            "/": (200, "text/html", '<script src="/a.js"></script><link rel=stylesheet href="https://cdn.test/x.css">'),
            "/a.js": (200, "text/javascript", "import './b.js'; import './a.js'; import './c.js'"),
            "/b.js": (404, "text/html", "<script src='/not-looked-at.js'>"),
        }
    )
    seen = walk(pages, NODE + "/", OWN)
    assert pages.asked == [NODE + path for path in ("/", "/a.js", "/b.js", "/c.js")]
    assert [each.status for each in seen.files] == [200, 200, 404, None]
    assert seen.policy == POLICY
    assert len(judge_walk(seen, OWN)) == 3


GOOD = PageRequest("GET", NODE + "/", "document", 200)


def test_requests_to_the_node_pass_and_others_do_not() -> None:
    own = [GOOD, PageRequest("POST", IDENTITY + "/v1/auth/login", "fetch", 200), PageRequest("GET", "data:,x", "image")]
    assert judge_origins(own, OWN) == []
    refused = PageRequest("GET", "https://tiles.test/1.png", "img-src", failure="refused by the page's own policy")
    [problem] = judge_origins([*own, refused, refused], OWN)
    assert "tiles.test" in problem
    assert judge_origins([*own, PageRequest("GET", "ws://10.0.0.1:4000/live", "websocket")], OWN) == []


def test_a_browser_that_saw_no_answer_shows_nothing() -> None:
    with pytest.raises(Vacuous):
        judge_origins([PageRequest("GET", NODE + "/", "document", failure="net::ERR_CONNECTION_REFUSED")], OWN)


def test_requests_that_failed_are_told_and_those_given_up_are_not() -> None:
    given_up = PageRequest("GET", NODE + "/v1/status", "fetch", failure="net::ERR_ABORTED")
    waiting = PageRequest("GET", NODE + "/v1/status", "fetch")
    assert judge_requests([GOOD, given_up, waiting]) == []
    lost = PageRequest("GET", NODE + "/a.js", "script", failure="net::ERR_CONNECTION_RESET")
    assert len(judge_requests([PageRequest("GET", NODE + "/b.js", "script", 404), lost])) == 2


def test_errors_of_the_console_are_told_once_and_without_tokens() -> None:
    line = ConsoleLine("error", "refused eyJhbGciOiJF.eyJzdWIiOiJh.c2lnbmF0dXJl")
    assert console_errors([ConsoleLine("log", "hello"), ConsoleLine("warning", "slow")]) == []
    assert console_errors([line, line, ConsoleLine("exception", "x is undefined")]) == [
        "console error: refused <token>",
        "console exception: x is undefined",
    ]


def test_tokens_are_found_inside_of_what_is_kept() -> None:
    token = "eyJhbGciOiJF.eyJzdWIiOiJh.c2lnbmF0dXJl"
    assert tokens(['{"access": "' + token + '"}', "dark"]) == {token}
    assert tokens(["dark", ""]) == set()

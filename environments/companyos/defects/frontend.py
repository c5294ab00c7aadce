"""Known-bad behaviours of the web frontend: what it loads, what its policy lets it do, what it keeps in a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from environments.companyos import ui
from environments.companyos.config import NodeConfig
from environments.companyos.defects import defect
from environments.companyos.services import Services
from environments.companyos.ui import Asset

PAGE = ("data", "edge")  # processes that serve it
ALONE = ("Ca", "D")


def _edit(path: str, old: str, new: str) -> None:
    """Serve that file with `new` in the place of `old`."""
    genuine = ui.assets

    def assets(services: Services) -> dict[str, Asset]:
        found = genuine(services)
        text = found[path].content.decode()
        assert old in text, f"{path} has no {old!r} to put a defect in the place of"
        return found | {path: replace(found[path], content=text.replace(old, new).encode())}

    ui.assets = assets


def _policy(change: Callable[[str], str]) -> None:
    genuine = ui.policy
    ui.policy = lambda services, scheme, host: change(genuine(services, scheme, host))


@defect(kills=("FUN-07", "FUN-14"), modes=ALONE, roles=PAGE)
def font_from_a_cdn(services: Services) -> None:
    """The style sheet imports a typeface of Google Fonts, and the policy was opened for it. Public frontends did so,
    and took half a minute to show on an air-gapped site (kestra#11305, phoenix#8822). A browser cannot fetch it there,
    which is an error in its console and a request that failed, so FUN-14 is broken too."""
    _edit(
        "/ui/style.css",
        ":root {",
        '@import url("https://fonts.googleapis.com/css2?family=Inter&display=swap");\n:root {',
    )
    _policy(lambda text: text.replace("style-src 'self'", "style-src 'self' https://fonts.googleapis.com"))


@defect(kills=("FUN-07", "FUN-14"), modes=ALONE, roles=PAGE)
def script_from_a_cdn(services: Services) -> None:
    """A charting library comes from a CDN, pinned by its digest: safe, and not there without a network (FUN-14 fails
    with it)."""
    source = "https://cdn.jsdelivr.net/npm/d3@7.9.0/dist/d3.min.js"
    tag = f'<script src="{source}" integrity="sha384-{"A" * 64}" crossorigin="anonymous" defer></script>'
    _edit("/", "</head>", f"{tag}\n</head>")
    _policy(lambda text: text.replace("script-src 'self'", "script-src 'self' https://cdn.jsdelivr.net"))


@defect(kills=("FUN-07",), modes=ALONE, roles=PAGE)
def hint_to_a_cdn(services: Services) -> None:
    """The assets were brought home and the resource hint was forgotten: each visit asks the name server for the CDN.
    Nothing fails, and nobody sees it but whoever watches the network."""
    _edit("/", "</head>", '<link rel="dns-prefetch" href="//fonts.gstatic.com">\n</head>')


@defect(kills=("FUN-07", "FUN-14"), modes=ALONE, roles=PAGE)
def beacon_after_sign_in(services: Services) -> None:
    """Product analytics start when someone has signed in, at a host whose name comes from a setting: no file of the
    page says it. The policy stops it, which shows in the console (FUN-14)."""
    setting = '["https:/", ["events", "analytics", "example"].join("."), "v1"].join("/")'
    _edit(
        "/ui/app.js",
        '  get("front").hidden = true;',
        f'  fetch({setting}, {{mode: "no-cors"}}).catch(() => {{}});\n  get("front").hidden = true;',
    )


@defect(kills=("FUN-07", "FUN-14"), modes=ALONE, roles=PAGE)
def asks_the_internet_whether_it_is_there(services: Services) -> None:
    """Before it signs anyone in, the page asks a well-known address whether it is online, and tells people to come back
    when it is: the login loop of an offline node."""
    probe = 'await fetch("https://connectivitycheck.gstatic.com/generate_204", {mode: "no-cors"})'
    told = 'throw new Error("You are offline. Sign in when you are connected.");'
    _edit(
        "/ui/app.js",
        "  await api.signIn(fields);",
        f"  try {{ {probe}; }} catch {{ {told} }}\n  await api.signIn(fields);",
    )


@defect(kills=("FUN-07", "FUN-14"), modes=ALONE, roles=PAGE)
def file_missing_after_an_upgrade(services: Services) -> None:
    """The bundle of the upgrade carries the page and not the new module it imports (a manifest written by hand), so the
    page stays empty; both the walk over its files and the browser see it."""
    genuine = ui.assets
    ui.assets = lambda services: {path: each for path, each in genuine(services).items() if path != "/ui/graph.js"}


@defect(kills=("FUN-07", "FUN-14"), modes=ALONE, roles=PAGE)
def modules_of_the_wrong_type(services: Services) -> None:
    """Media types are asked of the host's table, which says text/plain for scripts on some: no browser runs such a
    module, and the page stays empty (fiftyone#1060, jupyterlite#569)."""
    ui.MEDIA_TYPES = ui.MEDIA_TYPES | {".js": "text/plain"}


@defect(kills=("FUN-14",), modes=("A", "B", "Ct"), roles=PAGE)
def policy_forbids_signing_in(services: Services) -> None:
    """The proxy in front adds the policy of the company's static sites: the page renders, and the browser refuses every
    call that it makes."""
    _policy(lambda text: f"{text.partition('connect-src')[0]}connect-src 'none'; form-action 'none'")


@defect(kills=("FUN-14",), modes=("A", "B"), roles=("control",))
def identity_forgets_the_origin_of_the_page(services: Services) -> None:
    """The allow-list of the sign-in service names the public address alone: behind another one every sign-in ends in a
    CORS error, while curl shows that all is well (useautumn/autumn#857, puter#229)."""

    def origins(config: NodeConfig) -> list[str]:
        return ["https://app.companyos.example"]

    ui.origins = origins


@defect(kills=("FUN-14",), roles=PAGE)
def token_in_memory_alone(services: Services) -> None:
    """The token moved from the browser's storage into a variable after a review of XSS risks, without the cookie that
    was to replace it: a reload signs people out."""
    memory = (
        "const kept = new Map(), sessionStorage = {getItem: name => kept.get(name) ?? null, "
        "setItem: (name, value) => kept.set(name, value), removeItem: name => kept.delete(name)};\n"
    )
    _edit("/ui/api.js", "const TOKEN = ", f"{memory}const TOKEN = ")


@defect(kills=("FUN-14",), roles=PAGE)
def sign_out_leaves_the_token(services: Services) -> None:
    """The token is kept a second time for "remember me", and signing out forgets that copy: the next person at the
    machine has it (CWE-613; freefeed-react-client#1075)."""
    stored = "sessionStorage.setItem(TOKEN, accessToken);"
    _edit("/ui/api.js", stored, f"{stored} localStorage.setItem(TOKEN, accessToken);")


@defect(kills=("FUN-14",), roles=PAGE)
def sign_out_hides_what_was_shown(services: Services) -> None:
    """Signing out hides the lists and leaves them in the page, where the next person finds them with the browser's own
    tools."""
    _edit("/ui/app.js", "get(id).replaceChildren();", "get(id);")
    _edit("/ui/app.js", "for (const form of document.forms) form.reset();", "")


@defect(kills=("FUN-14",), roles=PAGE)
def names_are_markup(services: Services) -> None:
    """A component shows names by innerHTML, so that a name with a tag in it loses the tag, or runs it (CWE-79)."""
    old = 'get("selected-title").textContent = nameOf(entity);'
    _edit("/ui/app.js", old, 'get("selected-title").innerHTML = nameOf(entity);')
    _edit(
        "/ui/dom.js",
        "  made.append(...children);",
        '  made.innerHTML = children.map(each => each.outerHTML ?? each).join("");',
    )


@defect(kills=("FUN-14",), modes=ALONE, roles=PAGE)
def waits_for_a_worker_that_only_https_has(services: Services) -> None:
    """The page starts once its service worker is ready, and browsers have service workers on https and localhost only:
    on a site's plain address there is an exception and an empty page (angular#24401)."""
    start = "attempt(showNode);"
    _edit("/ui/app.js", start, f"navigator.serviceWorker.getRegistrations();\n{start}")

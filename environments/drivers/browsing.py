"""Chromium inside a site, driven over its debugging port by Playwright.

The browser is a process of the site like any service of it, so that what a page asks for leaves by the site's links or
is seen to try. Its debugging port is on the site's loopback; the suite reaches it as it reaches services there."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.contract.browser import ConsoleLine, PageRequest
from environments.contract.requirement import SuiteError
from environments.drivers.local.hosts import SiteHost, signal_family
from environments.drivers.reaching import Reach

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S, ACT_S = 60.0, 20.0
VIEW = (1000, 700)
# What the page's own policy stops is no request to the browser; to the suite it is one that was tried.
TELL_REFUSALS = """addEventListener("securitypolicyviolation", event =>
  event.blockedURI.includes("//") && conformRefused(event.blockedURI, event.effectiveDirective), true)"""
# What Chromium asks whatever its flags say; for it these names do not exist. A page that asks for them is seen by its
# requests all the same.
OWN = ("accounts.google.com", "update.googleapis.com", "*.gvt1.com", "clients*.google.com")
# Nothing of the browser's own may leave the site: whatever tries to is the page's doing.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--remote-debugging-address=127.0.0.1", "--remote-debugging-port=0"),
    *("--no-first-run", "--no-default-browser-check", "--no-service-autorun", "--no-pings", "--password-store=basic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync"),
    *(
        "--disable-extensions",
        "--disable-breakpad",
        "--disable-domain-reliability",
        "--disable-client-side-phishing-detection",
    ),
    *("--metrics-recording-only", "--disable-field-trial-config", "--safebrowsing-disable-auto-update"),
    f"--host-resolver-rules={', '.join(f'MAP {name} ~NOTFOUND' for name in OWN)}",
    "--disable-features=OptimizationHints,MediaRouter,DialMediaRouteProvider,Translate,AutofillServerCommunication,"
    "CertificateTransparencyComponentUpdater,InterestFeedContentSuggestions,NetworkTimeServiceQuerying",
)


def missing() -> str | None:
    """What a browser lacks on this host, and the remedy."""
    if program() is None:
        return f"no {PROGRAMS[0]} is on the PATH of this host. Install it (Debian: chromium)"
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed. pip install 'companyos-conform[browser]'"
    return None


def program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextlib.contextmanager
def browser(host: SiteHost, instruments: set[int]) -> Iterator[Tab]:
    """A tab in a browser of the site. `instruments`: where its process is noted as the suite's own."""
    from playwright.sync_api import Error, sync_playwright

    with tempfile.TemporaryDirectory(prefix="conform-browser-", ignore_cleanup_errors=True) as folder:
        profile = Path(folder)
        pid = host.spawn(
            [program() or PROGRAMS[0], *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env=_environment(profile),
            log_path=profile / "chromium.log",
        )
        instruments.add(pid)
        try:
            port, path = _debugging(host, pid, profile)
            with contextlib.closing(Reach(host.socket, port)) as reach, sync_playwright() as playwright:
                try:
                    remote = playwright.chromium.connect_over_cdp(
                        f"ws://127.0.0.1:{reach.port}{path}", timeout=START_S * 1000
                    )
                except Error as error:
                    raise SuiteError(f"the browser cannot be driven: {error.message}") from None
                try:
                    yield Tab(remote.new_context(viewport={"width": VIEW[0], "height": VIEW[1]}))
                except Error as error:  # nothing that a page does
                    raise SuiteError(f"the browser cannot be driven: {error.message}") from None
                finally:
                    with contextlib.suppress(Error):
                        remote.close()
        finally:
            _end(host, pid)


def _environment(profile: Path) -> dict[str, str]:
    homes = {name: str(profile) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "TZ": "UTC", **homes}


def _debugging(host: SiteHost, pid: int, profile: Path) -> tuple[int, str]:
    """(port, path) that the browser wrote down. SuiteError with its last words."""
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, ValueError):
            port, path = file.read_text().split("\n")[:2]
            return int(port), path
        if host.poll(pid) is not None or time.monotonic() > deadline:
            said = (profile / "chromium.log").read_text(errors="replace")[-500:]
            raise SuiteError(f"the browser did not start. It said: {said}")
        time.sleep(0.02)  # the poll interval of a named condition with a deadline


def _end(host: SiteHost, pid: int) -> None:
    if host.poll(pid) is None:
        signal_family(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while host.poll(pid) is None and time.monotonic() < deadline:
        time.sleep(0.01)


class Tab:
    """The contract's Browser."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._page: Page = context.new_page()
        self._page.set_default_timeout(ACT_S * 1000)
        self._console: list[ConsoleLine] = []
        self._requests: list[Request] = []
        self._more: list[PageRequest] = []  # web sockets, and what the page's policy refused
        context.expose_function("conformRefused", self._refused)
        context.add_init_script(TELL_REFUSALS)
        self._page.on("console", lambda said: self._console.append(ConsoleLine(said.type, said.text)))
        self._page.on("pageerror", lambda error: self._console.append(ConsoleLine("exception", error.message)))
        self._page.on("request", lambda made: self._requests.append(made))
        self._page.on("websocket", lambda opened: self._more.append(PageRequest("GET", opened.url, "websocket")))

    def _refused(self, url: str, directive: str) -> None:
        self._more.append(PageRequest("GET", url, directive, failure="refused by the page's own policy"))

    def open(self, url: str) -> None:
        with _told(f"the page {url} does not load"):
            self._page.goto(url, wait_until="load")

    def reload(self) -> None:
        with _told(f"the page {self._page.url} does not load again"):
            self._page.reload(wait_until="load")

    def fill(self, label: str, text: str) -> None:
        with _told(f"the page has no field labelled {label!r} that can be filled"):
            self._page.get_by_label(label, exact=True).fill(text)

    def press(self, button: str) -> None:
        with _told(f"the page has no button {button!r} that can be pressed"):
            self._page.get_by_role("button", name=button, exact=True).click()

    def shows(self, text: str, within_s: float = 20.0) -> bool:
        return self._appears(self._page.get_by_text(text).filter(visible=True).first, within_s)

    def offers(self, label: str, within_s: float = 20.0) -> bool:
        return self._appears(self._page.get_by_label(label, exact=True).first, within_s)

    def _appears(self, what: Any, within_s: float) -> bool:
        from playwright.sync_api import TimeoutError as NotInTime

        try:
            what.wait_for(state="visible", timeout=within_s * 1000)
        except NotInTime:
            return False
        return True

    def content(self) -> str:
        typed = "[...document.querySelectorAll('input, textarea')].map(field => field.value).join('\\n')"
        return f"{self._page.content()}\n{self._page.evaluate(typed)}"

    def visible(self) -> str:
        return self._page.inner_text("body")

    def kept(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for kind in ("local", "session"):
            stored: dict[str, str] = self._page.evaluate(f"({{...{kind}Storage}})")
            found |= {f"{kind}:{key}": value for key, value in stored.items()}
        cookies = self._context.cookies()
        return found | {f"cookie:{each.get('name')}": str(each.get("value")) for each in cookies}

    def screenshot(self) -> bytes:
        return self._page.screenshot(type="jpeg", quality=30)

    @property
    def requests(self) -> Sequence[PageRequest]:
        self._page.wait_for_timeout(0)  # what the browser has told by now is heard
        return [*map(_noted, self._requests), *self._more]

    @property
    def console(self) -> Sequence[ConsoleLine]:
        self._page.wait_for_timeout(0)
        return list(self._console)


def _noted(request: Request) -> PageRequest:
    answer = request.existing_response
    status = answer.status if answer else None
    return PageRequest(request.method, request.url, request.resource_type, status, request.failure)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    from playwright.sync_api import Error

    try:
        yield
    except Error as error:
        if "closed" in error.message:  # the tab, or all of the browser
            raise
        raise AssertionError(f"{what}: {error.message.splitlines()[0]}") from None

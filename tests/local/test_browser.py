"""A real browser inside a site: what it notes of a page, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

import profiles
from environments import network, provision
from environments.contract import Capability, SuiteError
from environments.drivers import browsing
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.node import LocalNode

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module", params=["namespaces", "loopback"])
def deployment(request: pytest.FixtureRequest) -> Iterator[LocalDeployment]:
    if lacking := browsing.missing():
        pytest.skip(lacking)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "loopback":

            def refused(*_: object, **__: object) -> None:
                raise network.NamespacesUnavailable("refused for this test", "none")

            patch.setattr(network.Network, "start", refused)
        with provision(profiles.load("edge-airgap"), calibrate=False) as made:
            yield made


@pytest.fixture
def node(deployment: LocalDeployment) -> LocalNode:
    return deployment.locals[deployment.spec.subject]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_it_sees_the_nodes_page_and_is_no_part_of_the_node(deployment: LocalDeployment, node: LocalNode) -> None:
    assert Capability.BROWSER in deployment.capabilities
    listening = set(node.listeners())
    with node.browser() as browser:
        browser.open(node.url("data") + "/")
        assert browser.offers("Password", 60)
        assert "Sign in" in browser.visible() and browser.kept() == {}
        assert {each.status for each in browser.requests if each.url.endswith("/ui/app.js")} == {200}
        assert [each for each in browser.console if each.kind in ("error", "exception")] == []
        assert browser.screenshot()[:2] == b"\xff\xd8"
        assert set(node.listeners()) == listening
        family = {each.pid for pid in node.instruments if alive(pid) for each in [psutil.Process(pid)]}
    assert family and not any(map(alive, family))


def test_what_a_page_lacks_is_said_and_what_it_tries_is_noted(node: LocalNode) -> None:
    with node.browser() as browser:
        browser.open(node.url("data") + "/none")
        assert not browser.offers("Password", 0.1)
        assert not browser.shows("Sign in", 0.1)
        assert [each.status for each in browser.requests if each.url.endswith("/none")] == [404]
        assert any(each.kind == "error" and "404" in each.text for each in browser.console)
        with pytest.raises(AssertionError, match="does not load"):
            browser.open("http://127.0.0.1:9/")
        assert [each.failure for each in browser.requests if ":9/" in each.url] == ["net::ERR_UNSAFE_PORT"]


@pytest.mark.parametrize("how", [KeyboardInterrupt, AssertionError])
def test_it_ends_however_the_check_ends(node: LocalNode, how: type[BaseException]) -> None:
    before = set(node.instruments)
    with pytest.raises(how), node.browser():
        [pid] = node.instruments - before
        assert alive(pid)
        raise how
    assert not alive(pid)


def test_a_browser_that_dies_is_no_fault_of_the_page(node: LocalNode) -> None:
    before = set(node.instruments)
    with pytest.raises(SuiteError, match="the browser cannot be driven"), node.browser() as browser:
        [pid] = node.instruments - before
        psutil.Process(pid).kill()
        browser.open(node.url("data") + "/")


def test_what_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "Install it (Debian: chromium)" in (browsing.missing() or "")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "google-chrome" else None)
    assert browsing.program() == "/usr/bin/google-chrome"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "companyos-conform[browser]" in (browsing.missing() or "")

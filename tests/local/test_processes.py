"""Processes that are paused: they answer nothing, are not crashed, and can be killed, stopped, resumed and closed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import profiles
from environments import provision
from environments.contract import TransportError
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import LoopbackSite, signal_family
from environments.drivers.local.node import LocalNode
from suites.waiting import wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=["namespaces", "loopback"])
def deployment(request: pytest.FixtureRequest) -> Iterator[LocalDeployment]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "loopback":
            from environments import network

            def refused(*_: object, **__: object) -> None:
                raise network.NamespacesUnavailable("refused for this test", "none")

            patch.setattr(network.Network, "start", refused)
        with provision(profiles.load("saas"), calibrate=False) as made:
            yield made


@pytest.fixture
def node(deployment: LocalDeployment) -> Iterator[LocalNode]:
    yield deployment.locals["saas"]
    deployment.heal()
    assert deployment.crashed() == []


def family(node: LocalNode, service: str) -> list[psutil.Process]:
    pid = node.pid(service)
    assert pid is not None
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def stopped(processes: list[psutil.Process]) -> bool:
    return all(each.status() == psutil.STATUS_STOPPED for each in processes)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def ready(node: LocalNode) -> bool:
    try:
        return node.http().request("GET", node.url("data") + "/readyz", timeout_s=2.0).status == 200
    except TransportError:
        return False


def test_a_paused_service_answers_nothing_and_goes_on(deployment: LocalDeployment, node: LocalNode) -> None:
    node.pause("data")
    assert wait_until(lambda: stopped(family(node, "data")), 10) <= 10
    with pytest.raises(TransportError, match=r"timed out|timeout"):
        node.http().request("GET", node.url("data") + "/healthz", timeout_s=0.3)
    assert node.alive("data")
    assert deployment.crashed() == []
    node.resume("data")
    assert wait_until(lambda: ready(node), 20) <= 20


def test_the_whole_of_postgresql_is_paused_and_heal_resumes_it(deployment: LocalDeployment, node: LocalNode) -> None:
    assert ready(node)
    processes = family(node, "postgres")
    assert len(processes) > 3, "a postmaster and its backends"
    node.pause("postgres")
    assert wait_until(lambda: stopped(processes), 10) <= 10
    assert not ready(node)
    deployment.heal()
    assert ready(node)
    assert node.pid("postgres") == processes[0].pid, "resumed, not started anew"


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_paused_postgresql_ends_whole(node: LocalNode, end: str) -> None:
    assert ready(node)
    processes = family(node, "postgres")
    node.pause("postgres")
    getattr(node, end)("postgres")
    assert wait_until(lambda: gone(processes), 20) <= 20
    node.start("postgres")
    assert wait_until(lambda: ready(node), 30) <= 30


def test_what_is_not_running_cannot_be_paused_and_resuming_it_is_nothing(node: LocalNode) -> None:
    node.resume("data")
    node.kill("data")
    with pytest.raises(ValueError, match="data does not run"):
        node.pause("data")
    node.resume("data")
    assert not node.alive("data")


def test_close_ends_what_is_paused() -> None:
    made = provision(profiles.load("saas"), calibrate=False)
    node = made.locals["saas"]
    processes = [each for service in node.services for each in family(node, service)]
    for service in node.services:
        node.pause(service)
    made.close()
    assert not any(each.is_running() for each in processes)


def test_a_loopback_site_ends_the_children_of_what_is_paused(tmp_path: Path) -> None:
    site = LoopbackSite("test-paused")
    note = tmp_path / "child"
    pid = site.spawn(["/bin/sh", "-c", f"sleep 600 & echo $! > {note}; wait"], env=dict(os.environ))
    assert wait_until(lambda: note.exists() and note.read_text().strip() != "", 10) <= 10
    child = psutil.Process(int(note.read_text()))
    signal_family(pid, signal.SIGSTOP)
    site.close()
    assert wait_until(lambda: gone([child]), 10) <= 10

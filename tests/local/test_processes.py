"""Processes that are paused: they answer nothing, are not crashed, and can be killed, stopped, resumed and closed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import profiles
from environments import provision
from environments.contract import SuiteError, TransportError
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.hosts import LoopbackSite, signal_family
from environments.drivers.local.node import LocalNode, NotReady
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


def test_a_killed_postgresql_leaves_nobody_that_the_next_one_would_refuse_to_start_beside(node: LocalNode) -> None:
    assert ready(node)
    processes = family(node, "postgres")
    os.kill(processes[-1].pid, signal.SIGSTOP)  # a backend that does not notice in time that its postmaster is gone
    node.kill("postgres")
    node.start("postgres")
    node.wait_ready(30)
    assert gone(processes)


def test_postgresql_waits_for_the_backends_of_one_that_somebody_else_killed(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready(node)
    postmaster, *others = family(node, "postgres")
    os.kill(others[-1].pid, signal.SIGSTOP)
    postmaster.kill()
    assert wait_until(lambda: not node.alive("postgres"), 10) <= 10
    node.excuse("postgres")
    monkeypatch.setattr("environments.drivers.local.processes.LEAVE_S", 0.2)
    try:
        with pytest.raises(SuiteError, match=rf"still used by \[{others[-1].pid}\] after 0.2 s: postgres not started"):
            node.start("postgres")
    finally:
        others[-1].kill()
    node.start("postgres")
    node.wait_ready(30)


def test_a_node_whose_database_does_not_start_says_so_at_once(node: LocalNode) -> None:
    node.kill("postgres")
    hba = node.cluster_dir / "pg_hba.conf"
    kept = hba.read_text()
    hba.write_text("nonsense\n")
    try:
        node.start("postgres")
        with pytest.raises(NotReady, match=r"saas: postgres ended while starting(.|\n)*could not load .*pg_hba.conf"):
            node.wait_ready(30)
    finally:
        hba.write_text(kept)
        node.excuse("postgres")


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

"""Processes of a site: how they run, how they end, and that nothing outlives the suite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from environments.network import Network, SitePlan
from environments.network.site import REPOSITORY, Site
from tests.network.conftest import RUN_ID

Start = Callable[..., Network]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def labelled(run_id: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CONFORM_RUN_ID") == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def until(condition: Callable[[], bool], deadline_s: float = 5.0) -> bool:
    ends = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)  # the poll interval of a named condition with a deadline
    return True


def test_a_process_has_its_environment_folder_and_log(start: Start, tmp_path: Path) -> None:
    site = start().site("core")
    log = tmp_path / "log"
    code = "import os; print(os.getcwd(), sorted(os.environ), os.getsid(0) == os.getpid()); raise SystemExit(3)"
    pid = site.spawn([sys.executable, "-I", "-c", code], {"A": "b"}, tmp_path, log)
    assert site.wait(pid) == 3
    assert site.poll(pid) == 3
    assert site.signal(pid) is False
    written = log.read_text()
    assert written.startswith(f"{tmp_path} ")
    assert "'A'" in written
    assert "'CONFORM_RUN_ID'" in written
    assert "'HOME'" not in written
    assert written.endswith("True\n")


def test_what_cannot_be_executed_is_an_error(start: Start) -> None:
    site = start().site("core")
    with pytest.raises(FileNotFoundError):
        site.spawn(["/no/such/program"])
    with pytest.raises(ProcessLookupError):
        site.signal(1)
    assert site.wait(site.spawn(["true"])) == 0


def test_signals_and_exit_codes(start: Start) -> None:
    site = start().site("core")
    pid = site.spawn(SLEEP)
    assert site.poll(pid) is None
    assert site.signal(pid, signal.SIGKILL)
    assert site.wait(pid) == -signal.SIGKILL
    pid = site.spawn(SLEEP)
    with pytest.raises(TimeoutError):
        site.wait(pid, 0.05)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change the user")
def test_a_process_can_run_as_another_user(start: Start, tmp_path: Path) -> None:
    site = start().site("core")
    assert site.wait(site.spawn(["id", "-u"], log_path=tmp_path / "log", uid=65534, gid=65534)) == 0
    assert (tmp_path / "log").read_text() == "65534\n"


LISTEN = """
import os, socket, sys
tcp, udp = socket.create_server(("127.0.0.1", 4001)), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 4002))
if os.fork():
    tcp.close()
    os.wait()
print("ready", flush=True)
sys.stdin = os.fdopen(os.pipe()[0])
sys.stdin.read()
"""


def test_listeners_are_found_with_the_service_they_belong_to(start: Start) -> None:
    site = start().site("core")
    assert site.listeners() == []
    pid = site.spawn([sys.executable, "-c", LISTEN])
    expected = [("tcp", "127.0.0.1", 4001, pid), ("udp6", "::", 4002, pid)]
    assert until(lambda: site.listeners() == expected), site.listeners()


def test_sites_have_loopbacks_of_their_own(start: Start) -> None:
    network = start()
    for name in ("core", "edge-1"):
        server = network.site(name).socket()
        server.bind(("127.0.0.1", 5432))
        server.listen()
        network.site(name).connect(5432).close()


def test_stop_ends_every_process_orphans_included(start: Start) -> None:
    network = start()
    site = network.site("core")
    orphan = f"import os, subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True); os._exit(0)"
    assert site.wait(site.spawn([sys.executable, "-c", orphan])) == 0
    site.spawn(SLEEP)
    assert len(labelled(RUN_ID)) == 5  # two agents, a router, a service, an orphan
    network.stop()
    assert labelled(RUN_ID) == []


SUITE = f"""
import sys, threading, time
from pathlib import Path
from environments.network import Network, SitePlan
def begin():
    network = Network.start({{run_id!r}}, [SitePlan("a", 0), SitePlan("b", 1)], {{{{}}}}, 1, Path({{workdir!r}}))
    network.site("a").spawn({SLEEP!r})
    keep.append(network)
keep = []
thread = threading.Thread(target=begin)   # what a thread started outlives the thread
thread.start(); thread.join()
assert keep[0].router_alive() and keep[0].site("a").listeners() == []
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_suite(namespaces: str, tmp_path: Path, end: signal.Signals) -> None:
    run_id = f"killed-{os.getpid()}-{end}"
    code = SUITE.format(run_id=run_id, workdir=str(tmp_path))
    suite = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert suite.stdout
    assert suite.stdout.readline() == b"ready\n"
    assert len(labelled(run_id)) == 4
    suite.send_signal(end)
    suite.wait()
    suite.stdout.close()
    assert until(lambda: not labelled(run_id)), labelled(run_id)


def test_a_killed_agent_takes_its_services_along(start: Start) -> None:
    network = start()
    pid = network.site("core").spawn(SLEEP)
    network.site("core").process.kill()
    assert until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_an_agent_is_small(start: Start) -> None:
    site = start().site("core")
    assert psutil.Process(site.process.pid).memory_info().rss < 25 * 2**20


def test_a_site_can_be_in_a_namespace_that_exists(start: Start, namespaces: str) -> None:
    """As of a container: found by a process in it, and left alone when the site ends."""
    if os.getuid() != 0:
        pytest.skip("an ordinary user cannot join a namespace of others")
    code = "import ctypes, os; assert not ctypes.CDLL(None).unshare(0x40000000); print(flush=True); input()"
    pod = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert pod.stdout
    pod.stdout.readline()
    netns = Path(f"/proc/{pod.pid}/ns/net")
    network = start({}, [SitePlan("pod", 0, netns=netns, sealed=True)])
    assert all(network.egress.plant("pod").values())
    network.stop()
    assert pod.poll() is None
    pod.kill()
    pod.communicate()


def test_refusal_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from environments.network import NamespacesUnavailable

    monkeypatch.setenv("CONFORM_TUN_DEVICE", str(tmp_path / "tun"))
    site = Site(SitePlan("core", 0), "refused")
    with pytest.raises(NamespacesUnavailable) as caught:
        site.ready()
    site.stop()
    assert caught.value.reason
    assert caught.value.remedy

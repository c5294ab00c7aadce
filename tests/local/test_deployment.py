"""The local driver: what it makes works, ends with its owner, and leaves nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import profiles
from environments import clean, provision
from environments.drivers import provisioning
from environments.drivers.local.hosts import free_port
from environments.drivers.local.node import LocalNode, NotReady
from environments.drivers.local.running import labelled_processes, running

OWNER = """
import sys, time, profiles
from environments import provision
deployment = provision(profiles.load(sys.argv[1]), run_id=sys.argv[2], calibrate=False)
print("ready", flush=True)
time.sleep(120)
"""


def started(profile: str, run_id: str) -> subprocess.Popen[str]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, profile, run_id], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert "ready" in owner.stdout.readline()
    return owner


def until(condition: Any, deadline_s: float) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)  # the poll interval of a named condition with a deadline
    return False


@pytest.mark.timeout(90)
def test_kill_minus_nine_of_the_owner_leaves_no_process_and_clean_removes_its_folder() -> None:
    run_id = f"test-{os.getpid()}-killed"
    owner = started("edge-dil", run_id)
    folder = provisioning.ROOT / run_id
    assert labelled_processes()[run_id], "services carry the run id"
    assert run_id in {each.run_id for each in running()}
    assert not any(run_id in line for line in clean.sweep(dry_run=True)), "a living run is left alone"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert until(lambda: run_id not in labelled_processes(), 10), labelled_processes().get(run_id)
    assert folder.exists()
    assert any(str(folder) in line for line in clean.sweep())
    assert not folder.exists()


@pytest.mark.timeout(60)
def test_a_service_that_never_gets_ready_is_named_and_all_is_torn_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = LocalNode.start

    def without_a_port(node: LocalNode, service: str, **options: Any) -> None:
        real(node, service, **({"config": {"ports": {}}} if service == "data" else options))

    monkeypatch.setattr(LocalNode, "start", without_a_port)
    run_id = f"test-{os.getpid()}-stuck"
    with pytest.raises(NotReady, match=r"saas: data ended while starting(.|\n)*KeyError: 'data'"):
        provision(profiles.load("saas"), run_id=run_id)
    assert not (provisioning.ROOT / run_id).exists()
    assert run_id not in labelled_processes()


@pytest.mark.timeout(60)
def test_the_clock_of_a_node_is_the_one_that_is_set() -> None:
    with provision(profiles.load("saas"), calibrate=False) as deployment:
        node = deployment.subject
        at_s = time.time() + 3600
        deployment.clock.freeze(node.name, at_s)
        client = node.login(node.user("analyst"))
        made = client.graphql('mutation{createEntity(input:{kind:"a"}){createdAt}}').json()
        stamp = made["data"]["createEntity"]["createdAt"]
        assert stamp[:13] == time.strftime("%Y-%m-%dT%H", time.gmtime(at_s))


@pytest.mark.timeout(60)
def test_a_crash_is_told_once_and_healed_and_a_kill_is_no_crash() -> None:
    with provision(profiles.load("saas"), calibrate=False) as deployment:
        node = deployment.locals["saas"]
        node.kill("data")
        assert deployment.crashed() == []
        node.start("data")
        node.wait_ready()
        pid = node.pid("data")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not node.alive("data"), 5)
        (line,) = deployment.crashed()
        assert "service data of node saas" in line
        assert deployment.crashed() == []
        deployment.heal()
        assert node.alive("data")


def test_folders_of_others_are_never_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "ROOT", tmp_path)
    monkeypatch.setattr(clean, "labelled_processes", dict)
    monkeypatch.setattr(clean.containers, "sweep", lambda **_: [])
    living, dead = tmp_path / "living" / "saas-1", tmp_path / "dead" / "saas-1"
    for folder, pid in ((living, os.getpid()), (dead, 2**22 + 1)):
        folder.mkdir(parents=True)
        started_at_s = psutil.Process().create_time() + 1
        (folder / "owner.json").write_text(json.dumps({"pid": pid, "started_at_s": started_at_s}))
    assert clean.sweep() == [f"folder {dead.parent}"]
    assert living.exists()
    assert not dead.exists()


def test_a_loopback_port_that_is_given_out_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))

"""The processes of the kill matrix: real ones, each with a deployment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil

import profiles
from conform import catalogue
from conform.defects import known
from conform.killmatrix import Outcome
from conform.killplan import EDGE_ALONE, Plan, Planner
from conform.killprocesses import Processes
from reports.journal import read


def plan_of(name: str) -> Plan:
    return Planner([profiles.load(str(EDGE_ALONE))], catalogue.checks(), catalogue.catalogue()).plan(known()[name])


def test_a_plan_is_tried_in_a_pytest_of_its_own(tmp_path: Path) -> None:
    plan, here = plan_of("compares_local_time"), Path.cwd()
    seconds, problem = Processes(("local", 7)).run(plan, tmp_path / plan.name)
    assert problem == ""
    outcome = Outcome(plan, tmp_path / plan.name, seconds, problem)
    assert outcome.red("LIC-08") == "fail"
    assert [outcome.worst(each) for each in plan.sample] == ["pass"] * len(plan.sample)
    assert read(tmp_path / plan.name / "journal.jsonl").header["seed"] == 7
    assert "1 failed" in (tmp_path / plan.name / "pytest.log").read_text()
    assert Path.cwd() == here


def test_one_that_is_stopped_tears_its_deployment_down_and_no_other_begins(tmp_path: Path) -> None:
    processes = Processes(("local", 1))
    thread = threading.Thread(target=processes.run, args=(plan_of("compares_local_time"), tmp_path / "first"))
    thread.start()
    nodes = wait_for_nodes()
    processes.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert not any(node.is_running() for node in nodes)
    assert processes.run(plan_of("compares_local_time"), tmp_path / "next") == (0.0, "stopped")


def wait_for_nodes() -> list[psutil.Process]:
    """The product's processes below this one, once there are any."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        nodes = [each for each in psutil.Process().children(recursive=True) if is_a_node(each)]
        if nodes:
            return nodes
        time.sleep(0.02)
    raise AssertionError("no node within 60 s")


def is_a_node(process: psutil.Process) -> bool:
    try:
        return any("environments.companyos" in part for part in process.cmdline())
    except psutil.Error:  # ended meanwhile
        return False

"""An engine that dies in the middle of a run: error within seconds, no process left, and clean once it is back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_kit import ROOT, of_run, until
from own_engine import OwnEngine

from environments import clean
from environments.drivers.containers.provision import NEEDED

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def engine(containers_driver: None) -> Iterator[OwnEngine]:
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not on this host, and nobody else's engine is killed")
    with OwnEngine() as made:
        made.load(*NEEDED)
        yield made


def processes_of(run_id: str) -> list[int]:
    """First processes of the run's containers."""
    from environments.images import engine

    client = engine()
    ours: dict[str, str | list[str] | bool] = {"label": f"companyos-conform.run={run_id}"}
    pids = [int(each.attrs["State"]["Pid"]) for each in client.containers.list(filters=ours, ignore_removed=True)]
    client.close()
    return pids


def ready(run_dir: Path) -> bool:
    return any('"ready after' in path.read_text(encoding="utf-8") for path in run_dir.glob("parts/*.jsonl"))


def test_an_engine_that_dies_makes_the_run_an_error_and_leaves_nothing(
    engine: OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    run_dir = tmp_path / "run"
    command = [
        "conform",
        "run",
        "--driver",
        "containers",
        "--profile",
        "edge-dil",
        "-n",
        "0",
        "--run-dir",
        str(run_dir),
    ]
    run = subprocess.Popen(
        [sys.executable, "-m", *command, "--run-dir", str(run_dir)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert until(lambda: ready(run_dir) or run.poll() is not None, 120)
    assert run.poll() is None
    parts = [json.loads(line) for line in (run_dir / "parts" / "controller.jsonl").read_text().splitlines()]
    run_id = next(str(each["run_id"]) for each in parts if each["kind"] == "header")
    pids = processes_of(run_id)
    assert len(pids) >= 6
    engine.kill()
    assert run.wait(60) == 255, "it does not wait for what will never answer"
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    assert report["outcome"] == "suite-error"
    reasons = [cell["reason"] for cell in report["cells"] if cell["verdict"] == "error"]
    assert any("the container engine" in reason for reason in reasons), reasons
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "processes of its containers are gone"
    engine.start()
    clean.sweep()
    assert of_run(run_id) == []


def test_an_engine_that_dies_before_all_is_up_is_told_as_such(
    engine: OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    run_id = f"test-{os.getpid()}-early"
    source = (
        "import os, profiles\nfrom environments import provision\n"
        f"provision(profiles.load('edge-dil'), driver='containers', run_id={run_id!r}, calibrate=False)"
    )
    owner = subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert until(lambda: len(of_run(run_id)) >= 3 or owner.poll() is not None, 60)
    pids = processes_of(run_id)
    engine.kill()
    _, told = owner.communicate(timeout=60)
    assert "SuiteError" in told
    assert "the container engine does not answer" in told
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    engine.start()
    clean.sweep()
    assert of_run(run_id) == []

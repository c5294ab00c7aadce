"""kill -9 of a run in containers at random moments, then `conform clean`: what is left each time, and what it touched.

python -m benchmarks.killing --times 20 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docker

from environments import clean
from environments.drivers import provisioning
from environments.drivers.containers import labels
from environments.drivers.local.running import labelled_processes
from environments.images import built

ROOT = Path(__file__).parents[1]
SETTLE_S = 10.0  # within which processes that were told to end have ended


def command(run_dir: Path) -> list[str]:
    checks = ["--profile", "edge-dil", "--only", "FUN-01", "--only", "SYN-01"]
    return [
        sys.executable,
        "-m",
        "conform",
        "run",
        "--driver",
        "containers",
        "-n",
        "0",
        "--run-dir",
        str(run_dir),
        *checks,
    ]


def start(run_dir: Path) -> subprocess.Popen[bytes]:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(run_dir), cwd=ROOT, start_new_session=True, **quiet)


def ours(client: docker.DockerClient, runs: set[str]) -> list[str]:
    """What of these runs is on the engine, on this host, and in its folders."""
    label: dict[str, str | list[str] | bool] = {"label": labels.RUN}
    found = client.containers.list(all=True, filters=label, ignore_removed=True)
    left = [f"container {each.name}" for each in found if each.labels[labels.RUN] in runs]
    left += [f"process of {run}" for run in labelled_processes() if run in runs]
    return left + [f"folder {run}" for run in runs if (provisioning.ROOT / run).exists()]


def runs_in(folder: Path) -> set[str]:
    """The run ids of the journals in it."""
    found = set()
    for path in folder.glob("*/parts/controller.jsonl"):
        head = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
        found.add(str(head["run_id"]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    moments, client = random.Random(options.seed), docker.from_env()
    stranger = client.containers.run(built("pause")["pause"].image_id, detach=True, network_mode="none")
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = set(os.listdir(provisioning.ROOT)) if provisioning.ROOT.exists() else set()  # noqa: PTH208
        began = time.monotonic()
        start(folder / "whole").wait()
        whole_s = time.monotonic() - began
        print(f"undisturbed: {whole_s:.1f} s")  # noqa: T201
        for number in range(options.times):
            at_s = moments.uniform(0, 0.8 * whole_s)  # later ones find it at its end
            process = start(folder / str(number))
            time.sleep(at_s)  # the moment itself is what is varied
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            made = set(os.listdir(provisioning.ROOT)) if provisioning.ROOT.exists() else set()  # noqa: PTH208
            runs = (made - before) | runs_in(folder)
            there = len(ours(client, runs))
            clean.sweep()
            deadline = time.monotonic() + SETTLE_S
            while (left := ours(client, runs)) and time.monotonic() < deadline:
                time.sleep(0.05)  # the poll interval of a named condition with a deadline
            stranger.reload()
            touched = stranger.status != "running"
            bad += bool(left) or touched
            told = f"LEFT: {'; '.join(left)}" if left else "nothing left"
            print(f"{number + 1:2}: killed at {at_s:5.2f} s, {there:2} things there, then {told}", flush=True)  # noqa: T201
            if touched:
                print("    A CONTAINER OF SOMEBODY ELSE WAS TOUCHED")  # noqa: T201
    stranger.remove(force=True)
    print(f"{options.times - bad} of {options.times} clean")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

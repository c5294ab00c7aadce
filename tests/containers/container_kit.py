"""What the tests of containers share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from environments.images import engine

ROOT = Path(__file__).parents[2]


def of_run(run_id: str) -> list[str]:
    """Names of the containers, networks and volumes that carry the run's label, on the engine that there is."""
    client = engine()
    ours: dict[str, str | list[str] | bool] = {"label": f"companyos-conform.run={run_id}"}
    found = client.containers.list(all=True, filters=ours, ignore_removed=True)
    others = [*client.networks.list(filters=ours), *client.volumes.list(filters=ours)]
    names = [str(each.name) for each in (*found, *others)]
    client.close()
    return names


def started(run_id: str, source: str, **env: str) -> subprocess.Popen[bytes]:
    """A process of its own that runs this source; `RUN_ID` names its run."""
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "RUN_ID": run_id, **env},
        start_new_session=True,
    )


def until(condition: Callable[[], bool], deadline_s: float) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)  # the poll interval of a named condition with a deadline
    return False

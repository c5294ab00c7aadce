"""Deployments of this host that run now, as another shell finds them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from environments.drivers.provisioning import ROOT

LABEL = "CONFORM_RUN_ID"


@dataclass(frozen=True)
class Running:
    """A deployment whose owner lives. `document` is LocalDeployment.describe()."""

    run_id: str
    profile: str
    workdir: Path
    document: dict[str, Any]

    def command(self, **fields: Any) -> dict[str, Any]:
        """One command to its router: see environments.network.control. OSError if the router is gone."""
        from environments.network.client import command

        return command(self.workdir, fields)


def running() -> list[Running]:
    """Newest first. Only the caller's own (the folders of others cannot be read)."""
    found = []
    for path in sorted(ROOT.glob("*/*/deployment.json"), key=lambda p: -p.stat().st_mtime) if ROOT.exists() else []:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if owner_lives(document["pid"], document["started_at_s"]):
            found.append(Running(document["run_id"], document["profile"], path.parent, document))
    return found


def owner_lives(pid: int, started_at_s: float) -> bool:
    """Whether that process still is the one that wrote the file: same id, begun before it."""
    try:
        return psutil.Process(pid).create_time() <= started_at_s + 1
    except psutil.Error:
        return False


def labelled_processes() -> dict[str, list[psutil.Process]]:
    """Processes that carry a run id in their environment, by run id."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            run_id = process.environ().get(LABEL)
        except (psutil.Error, OSError):
            continue
        if run_id:
            found.setdefault(run_id, []).append(process)
    return found

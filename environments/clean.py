"""Sweep what killed runs left: processes, folders and containers with a run id whose owner is gone. Nothing else is
touched."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import psutil

from environments.drivers.containers import sweep as containers
from environments.drivers.local.disks import mounted_under, unmount_under
from environments.drivers.local.running import LABEL, labelled_processes, owner_lives
from environments.drivers.provisioning import ROOT


def sweep(*, dry_run: bool = False) -> list[str]:
    """What was (or would be) removed, a line each. Namespaces and devices go with the processes that hold them."""
    living = _living_runs()
    lines = containers.sweep(dry_run=dry_run)  # first: they hold the folders
    for run_id, processes in labelled_processes().items():
        if run_id in living:
            continue
        processes = [process for process in processes if _orphaned(process)]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                lines.append(f"process {process.pid} ({' '.join(process.cmdline())[:60]}) of run {run_id}")
                if not dry_run:
                    process.kill()
        if not dry_run:
            psutil.wait_procs(processes, timeout=5)
    for run in sorted(ROOT.glob("*")) if ROOT.exists() else []:
        if run.is_dir() and not run.is_symlink() and run.name not in living:
            lines += _end_workers(run, dry_run)
            lines += [f"disk {path}" for path in mounted_under(run)]
            lines.append(f"folder {run}")
            if not dry_run:
                unmount_under(run)
                shutil.rmtree(run, ignore_errors=True)
    return lines


def _end_workers(run: Path, dry_run: bool) -> list[str]:
    """What works in the folder of a dead run and carries no label: PostgreSQL writes its title over its environment,
    and a backend that is paused does not see that its server is gone."""
    found, folder = [], run.resolve()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if folder in Path(process.cwd()).parents:
                found.append(process)
    lines = [f"process {process.pid} working in {run}" for process in found]
    if not dry_run:
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=5)
    return lines


def _orphaned(process: psutil.Process) -> bool:
    """Whether nobody of the run is left above it: a run without a folder (a test, a benchmark) may yet be living."""
    try:
        parents = process.parents()
        above = [each for each in parents if LABEL not in each.environ()]
        return not above or above[0].pid == 1 or above[0].name() == "systemd"
    except psutil.Error:
        return False


def _living_runs() -> set[str]:
    """Runs whose owner lives: the file `owner` in their folder names it."""
    living = set()
    for path in ROOT.glob("*/*/owner.json") if ROOT.exists() else []:
        with contextlib.suppress(OSError, ValueError, KeyError):
            document = json.loads(path.read_text(encoding="utf-8"))
            if owner_lives(document["pid"], document["started_at_s"]):
                living.add(Path(path).parent.parent.name)
    return living

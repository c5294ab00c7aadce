"""The processes of the kill matrix: each tries one plan in a pytest session of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from conform import catalogue
from conform.killplan import EDGE_ALONE, Plan
from environments.network import zygote

LIMIT_S = {"local": 240.0, "containers": 480.0}  # one process; beyond it the defect is an error
STOPPING_S = 20.0  # what a process gets to tear its deployment down
Circumstances = tuple[str, int]  # driver, seed
ROOT = catalogue.SUITES.parent


class Processes:
    """Those that run now; stopping ends them all as Ctrl-C would, so that they tear down.

    They are forked from a server that has imported what each needs: each would spend 0.7 s of a processor on that."""

    def __init__(self, circumstances: Circumstances) -> None:
        self._circumstances = circumstances
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", "conform.killwarm"])
        self._running: set[ForkServerProcess] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, plan: Plan, folder: Path) -> tuple[float, str]:
        """Seconds that it took, and what went wrong with the process itself: empty if nothing did. Its journal and log
        are in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        limit_s = LIMIT_S[self._circumstances[0]]
        began, problem = time.monotonic(), ""
        process = self._context.Process(target=_session, args=(_arguments(plan, folder, self._circumstances), folder))
        with self._lock:
            if self._stopped:
                return 0.0, "stopped"
            process.start()
            self._running.add(process)
        process.join(limit_s)
        if process.is_alive():
            problem = f"did not end within {limit_s:.0f} s"
            _end(process)
        with self._lock:
            self._running.discard(process)
        return time.monotonic() - began, problem

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _end(process)


def _end(process: ForkServerProcess) -> None:
    """SIGINT first, so that the deployment is torn down; SIGKILL if that takes too long."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
        process.join(STOPPING_S)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join(5)


def _session(arguments: Sequence[str], folder: Path) -> None:
    """What a process does: pytest, as if its command had been typed where the suites are."""
    os.setsid()
    log = os.open(folder / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.argv = ["pytest", *arguments]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins of the host cost a second each
    from conform import killwarm

    zygote.begin(*killwarm.FORKED)
    import pytest

    sys.exit(int(pytest.main(list(arguments))))


def _arguments(plan: Plan, folder: Path, circumstances: Circumstances) -> list[str]:
    driver, seed = circumstances
    ini = ROOT / "pyproject.toml"
    found = [str(catalogue.SUITES), "--rootdir", str(ROOT), "-c", str(ini) if ini.is_file() else os.devnull]
    found += ["-o", "addopts=", "--import-mode=importlib", "-p", "conform.plugin", "-p", "pytest_timeout"]
    found += ["-p", "no:cacheprovider", "-q", "--tb=native"]  # other styles take source apart, which takes long
    found += ["--no-report", "--run-dir", str(folder), "--seed", str(seed), "--driver", driver]
    for profile in plan.profiles:
        found += ["--profile", str(EDGE_ALONE) if profile == EDGE_ALONE.stem else profile]
    for requirement in (*plan.claimed, *plan.sample):
        found += ["--only", requirement]
    if plan.defect is not None:
        found += ["--defect", plan.defect.name, "--until-red"]
    if not plan.calibrate:
        found.append("--uncalibrated")
    return found

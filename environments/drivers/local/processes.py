"""Services of a node as processes of its site."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from environments.contract import ContainerFacts, Resources, SuiteError, untestable
from environments.drivers.local import postgres
from environments.drivers.local.hosts import SiteHost, service_environment, signal_family
from environments.drivers.runner import Component

LEAVE_S = 10.0  # what was killed is gone by then, on a busy host too


class ProcessRunner:
    """See Runner. home: the node's folder; cluster: PostgreSQL's; port: PostgreSQL's."""

    def __init__(self, host: SiteHost, home: Path, cluster: Path, port: int | None, sealed: bool) -> None:
        self._host, self._home, self._cluster, self._port, self._sealed = host, home, cluster, port, sealed
        self.components: dict[str, Component] = {}
        self._pids: dict[str, int] = {}
        self._abandoned = False

    def write_config(self, path: Path, config: Mapping[str, Any]) -> None:
        write_private(path, json.dumps(config, default=str, indent=1))

    def start(self, service: str, config: Path, env: Mapping[str, str]) -> int:
        if self._abandoned:
            raise SuiteError(f"{service} is not started: its deployment has been given up")
        if service == "postgres":
            assert self._port is not None, "a node with PostgreSQL has a port for it"
            self._clear_stale_postgres()
            argv = postgres.command(self._cluster, self._home / "sockets", self._port)
        elif service in self.components:
            argv = list(self.components[service].argv)
            env = {**env, **self.components[service].env}
        else:
            argv = [sys.executable, "-m", "environments.companyos.serve", "--config", str(config), "--role", service]
        uid, gid = postgres.account() if service == "postgres" and os.geteuid() == 0 else (None, None)
        self._pids[service] = self._host.spawn(
            argv,
            env=service_environment(self._sealed, env),
            cwd=self._home,
            log_path=self._log(service),
            uid=uid,
            gid=gid,
        )
        return self._pids[service]

    def _clear_stale_postgres(self) -> None:
        """What a postmaster that was killed left behind: backends that still leave, and files that name its id."""
        stale = self._cluster / "postmaster.pid"
        if not stale.exists():
            return
        deadline = time.monotonic() + LEAVE_S
        while left := postgres.users(self._cluster):
            if time.monotonic() > deadline:
                raise SuiteError(f"{self._cluster} is still used by {left} after {LEAVE_S:g} s: postgres not started")
            time.sleep(0.02)  # waiting for the condition of this loop: the last backend to leave
        stale.unlink(missing_ok=True)
        (self._home / "sockets" / f".s.PGSQL.{self._port}.lock").unlink(missing_ok=True)

    def ended(self, service: str) -> str | None:
        status = self._host.poll(self._pids[service])
        return None if status is None else f"exit {status}"

    def signal(self, service: str, number: int) -> None:
        self._host.signal(self._pids[service], number)

    def kill(self, service: str) -> None:
        if self.ended(service) is None:
            signal_family(self._pids[service], signal.SIGKILL)  # as when a container or the power goes: nobody stays

    def pause(self, service: str) -> None:
        signal_family(self._pids[service], signal.SIGSTOP)

    def resume(self, service: str) -> None:
        signal_family(self._pids[service], signal.SIGCONT)

    def logs(self, service: str) -> str:
        path = self._log(service)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _log(self, service: str) -> Path:
        return self._home / "logs" / f"{service}.log"

    def host_path(self, path: str) -> Path:
        return Path(path)

    def abandon(self) -> None:
        self._abandoned = True
        for service in self._pids:
            self.kill(service)

    def facts(self) -> Sequence[ContainerFacts]:
        return ()

    def resources(self) -> Resources:
        untestable("resource-limits: plain processes here. Use --driver containers")

    def keep_logs(self) -> None:
        """They are files from the start."""


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)

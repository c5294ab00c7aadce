"""One installed CompanyOS: its files, its processes, the way to talk to it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from environments.contract import Client, HttpSession, Listener, Mode, TransportError, User
from environments.contract.client import HttpClient, login
from environments.drivers.local import postgres
from environments.drivers.local.hosts import SiteHost, service_environment, signal_family

ROLE_SERVICE = {  # variant -> role -> service whose port answers it
    "saas": {"data": "data", "identity": "control", "admin": "control", "control": "control"},
    "dedicated": {"data": "data", "identity": "control", "admin": "control", "control": "control"},
    "connected": {"data": "data", "identity": "control", "admin": "control", "control": "control"},
    "airgapped": {"data": "data", "identity": "control", "admin": "control", "control": "control"},
    "tethered": {"data": "data", "identity": "data", "admin": "data"},
    "edge": {"data": "edge", "identity": "edge", "admin": "edge"},
}
SERVICES = {
    "saas": ("postgres", "control", "data"),
    "dedicated": ("postgres", "control", "data"),
    "connected": ("postgres", "control", "data"),
    "airgapped": ("postgres", "control", "data"),
    "tethered": ("postgres", "data"),
    "edge": ("edge",),
}


class NotReady(Exception):
    """A service did not get ready; says which, and its last log lines."""


class LocalNode:
    """The contract's Node over local processes."""

    def __init__(
        self,
        name: str,
        site: str,
        config: dict[str, Any],
        users: Sequence[User],
        home: Path,
        host: SiteHost,
        session: Callable[[str], HttpSession],
        sealed: bool,
    ) -> None:
        self.name, self.site = name, site
        self.config, self.users = config, tuple(users)
        self.mode, self.variant = Mode(config["mode"]), str(config["variant"])
        self.node_id, self.customer, self.instance = config["node_id"], config["customer"], config["instance"]
        self.version = str(config["version"])
        self.services = SERVICES[self.variant]
        self.home = home
        self._host, self._session, self._sealed = host, session, sealed
        self._pids: dict[str, int] = {}
        self._expected_down: set[str] = set()
        self._told: set[int] = set()
        self._changed: set[str] = set()
        self._paused: set[str] = set()
        self.preload: Callable[[str], Mapping[str, str]] = lambda service: {}  # environment of a clock (faketime.py)
        self.instruments: set[int] = set()  # processes of the suite in the node's site: no part of the product

    # -- where it is

    @property
    def data_dir(self) -> Path:
        return Path(self.config["data_dir"])

    @property
    def cluster_dir(self) -> Path:
        """PostgreSQL's files, on the disk of the node's other data."""
        return self.data_dir.with_name("postgres")

    @property
    def declared_ports(self) -> Sequence[tuple[str, int]]:
        declared = []
        for service in self.services:
            port = int(self.config["ports"][service])
            declared.append(("127.0.0.1", port))
            if service != "postgres" and self.config["listen"] != "127.0.0.1":
                declared.append((str(self.config["listen"]), port))
        return declared

    def url(self, role: str) -> str:
        service = ROLE_SERVICE[self.variant][role]
        return f"http://{self.config['listen']}:{self.config['ports'][service]}"

    def user(self, role: str, tenant: str | None = None) -> User:
        for user in self.users:
            if role in user.roles and (tenant is None or user.tenant == tenant):
                return user
        raise KeyError(f"{self.name} has no user with role {role} in tenant {tenant}")

    # -- talking to it

    def http(self, origin: str | None = None) -> HttpSession:
        return self._session(origin or self.site)

    def login(self, user: User, origin: str | None = None) -> Client:
        return login(self, self.http(origin), user)

    def anonymous(self, origin: str | None = None) -> Client:
        return HttpClient(self, self.http(origin))

    def sql(self) -> Any:
        return psycopg.connect(self.config["postgres_admin_dsn"], autocommit=True)

    def listeners(self) -> Sequence[Listener]:
        owners = {pid: service for service, pid in self._pids.items()}
        return [
            Listener(kind, address, port, owners.get(pid or 0))
            for kind, address, port, pid in self._host.listeners()
            if pid not in self.instruments
        ]

    def files(self) -> Sequence[Path]:
        roots = [self.home / "config", self.home / "logs", self.data_dir]
        return sorted(path for root in roots for path in root.rglob("*") if path.is_file())

    def logs(self, service: str) -> str:
        path = self.home / "logs" / f"{service}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # -- its processes

    def alive(self, service: str) -> bool:
        pid = self._pids.get(service)
        return pid is not None and self._host.poll(pid) is None

    def pid(self, service: str) -> int | None:
        return self._pids.get(service)

    def pids(self) -> Mapping[str, int]:
        return {service: pid for service, pid in self._pids.items() if self.alive(service)}

    def start(
        self, service: str, *, env: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        if self.alive(service):
            raise ValueError(f"{self.name}: {service} runs already")
        if service == "postgres":
            self._clear_stale_postgres()
            argv = postgres.command(self.cluster_dir, self.home / "sockets", self.config["ports"]["postgres"])
        else:
            path = self.home / "config" / ("node.json" if config is None else f"node-{service}.json")
            if config is not None:
                write_private(path, json.dumps({**self.config, **config}, default=str, indent=1))
            argv = [sys.executable, "-m", "environments.companyos.serve", "--config", str(path), "--role", service]
        if env or config:
            self._changed.add(service)
        else:
            self._changed.discard(service)
        uid, gid = postgres.account() if service == "postgres" and os.geteuid() == 0 else (None, None)
        self._pids[service] = self._host.spawn(
            argv,
            env=service_environment(self._sealed, {**self.preload(service), **(env or {})}),
            cwd=self.home,
            log_path=self.home / "logs" / f"{service}.log",
            uid=uid,
            gid=gid,
        )
        self._expected_down.discard(service)
        self._paused.discard(service)

    def _clear_stale_postgres(self) -> None:
        """After a SIGKILL the postmaster's children may hold the data directory for a moment; its pid file is stale."""
        stale = self.cluster_dir / "postmaster.pid"
        deadline = time.monotonic() + 10
        while stale.exists() and time.monotonic() < deadline:
            pid = int(stale.read_text().split()[0])
            if not _group_alive(pid):
                stale.unlink(missing_ok=True)
            else:
                time.sleep(0.02)  # waiting for the condition of this loop: the last backend to notice and leave

    def kill(self, service: str) -> None:
        self._end(service, signal.SIGKILL)

    def stop(self, service: str) -> None:
        """Ask it to end (PostgreSQL: fast shutdown), then insist."""
        self._end(service, signal.SIGINT if service == "postgres" else signal.SIGTERM)

    def pause(self, service: str) -> None:
        if not self.alive(service):
            raise ValueError(f"{self.name}: {service} does not run")
        signal_family(self._pids[service], signal.SIGSTOP)
        self._paused.add(service)

    def resume(self, service: str) -> None:
        if service in self._paused:
            self._paused.discard(service)
            signal_family(self._pids[service], signal.SIGCONT)

    def excuse(self, service: str) -> None:
        """Until its next start, that it ends is no crash: what it needs has been taken away on purpose."""
        self._expected_down.add(service)

    def _end(self, service: str, number: int) -> None:
        self._expected_down.add(service)
        pid = self._pids.get(service)
        if pid is None:
            return
        if service in self._paused and number == signal.SIGKILL:
            signal_family(pid, number)  # its children are paused too, and would never see that it is gone
        self._host.signal(pid, number)
        self.resume(service)
        deadline = time.monotonic() + 5
        while self._host.poll(pid) is None:
            if time.monotonic() > deadline:
                self._host.signal(pid, signal.SIGKILL)
                deadline += 5
            time.sleep(0.005)

    def crashed(self) -> list[str]:
        """Services that ended though nobody asked, each told once."""
        found = []
        for service, pid in self._pids.items():
            status = self._host.poll(pid)
            if status is not None and service not in self._expected_down and pid not in self._told:
                self._told.add(pid)
                found.append(f"service {service} of node {self.name} ended by itself (exit {status})")
        return found

    def restore(self) -> None:
        """Every service up and running again, with the node's own configuration."""
        for service in self._paused.copy():
            self.resume(service)
        for service in self._changed.copy():
            self.stop(service)
        for service in self.services:
            if not self.alive(service):
                self.start(service)

    # -- readiness

    def wait_ready(self, deadline_s: float = 30.0) -> float:
        started = time.monotonic()
        waiting = [service for service in self.services if service != "postgres"]
        detail = "no answer"
        while waiting:
            service = waiting[0]
            if not self.alive(service) and service not in self._expected_down:
                raise NotReady(f"{self.name}: {service} ended while starting. Last log lines:\n{self._tail(service)}")
            detail = self._probe(service)
            if detail == "":
                waiting.pop(0)
                continue
            if time.monotonic() - started > deadline_s:
                raise TimeoutError(
                    f"{self.name}: {service} was not ready after {deadline_s:g} s ({detail}). "
                    f"Last lines of its log:\n{self._tail(service)}"
                )
            time.sleep(0.01)  # the poll interval of a named condition with a deadline
        return time.monotonic() - started

    def _probe(self, service: str) -> str:
        """Empty when ready, else why not."""
        url = f"http://{self.config['listen']}:{self.config['ports'][service]}/readyz"
        try:
            answer = self.http().request("GET", url, timeout_s=2.0)
        except TransportError as error:
            return f"/readyz: {error.kind}"
        return "" if answer.status == 200 else f"{answer.status} {answer.body[:200]!r}"

    def _tail(self, service: str, lines: int = 12) -> str:
        return "\n".join("    " + line for line in self.logs(service).splitlines()[-lines:]) or "    (it is empty)"

    def memory_bytes(self) -> int:
        """Resident memory of the node's own services, PostgreSQL aside."""
        import psutil

        return sum(
            psutil.Process(pid).memory_info().rss
            for service, pid in self._pids.items()
            if service != "postgres" and self.alive(service)
        )


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _group_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

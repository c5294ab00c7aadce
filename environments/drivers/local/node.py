"""One installed CompanyOS: its files, its processes, the way to talk to it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg

from environments.contract import (
    Browser,
    Client,
    ContainerFacts,
    HttpSession,
    ImageFile,
    Listener,
    Mode,
    Resources,
    TransportError,
    User,
)
from environments.contract.client import HttpClient, login
from environments.drivers import browsing, rootfs
from environments.drivers.custody import NodeCustody
from environments.drivers.local import postgres
from environments.drivers.local.hosts import SiteHost
from environments.drivers.runner import Component, Runner

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
PRODUCT_SERVICES = ("control", "data", "edge")  # ours, by HTTP; the others are what they stand on


class NotReady(Exception):
    """A service did not get ready; says which, and its last log lines."""


class LocalNode:
    """The contract's Node over services that a driver runs."""

    def __init__(
        self,
        name: str,
        site: str,
        config: dict[str, Any],
        users: Sequence[User],
        home: Path,
        host: SiteHost,
        session: Callable[[str], HttpSession],
        runner: Runner,
    ) -> None:
        self.name, self.site = name, site
        self.config, self.users = config, tuple(users)
        self.mode, self.variant = Mode(config["mode"]), str(config["variant"])
        self.node_id, self.customer, self.instance = config["node_id"], config["customer"], config["instance"]
        self.version = str(config["version"])
        self.services = SERVICES[self.variant]
        self.beside: tuple[str, ...] = ()  # servers in its site that are the customer's: no part of the node
        self.home = home
        self.runner = runner
        self._host, self._session = host, session
        self._pids: dict[str, int] = {}
        self._expected_down: set[str] = set()
        self._told: set[int] = set()
        self._changed: set[str] = set()
        self._paused: set[str] = set()
        self.custody: NodeCustody  # who keeps its keys
        self.preload: Callable[[str], Mapping[str, str]] = lambda service: {}  # environment of a clock (faketime.py)
        self.instruments: set[int] = set()  # processes of the suite in the node's site: no part of the product

    # -- where it is

    @property
    def data_dir(self) -> Path:
        return Path(self.config["data_dir"])

    def host_path(self, path: str) -> Path:
        return self.runner.host_path(path)

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
            if service in PRODUCT_SERVICES and self.config["listen"] != "127.0.0.1":
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

    def browser(self) -> AbstractContextManager[Browser]:
        return browsing.browser(self._host, self.instruments)

    def login(self, user: User, origin: str | None = None) -> Client:
        return login(self, self.http(origin), user)

    def anonymous(self, origin: str | None = None) -> Client:
        return HttpClient(self, self.http(origin))

    def sql(self) -> Any:
        with postgres.within_reach(self.home / "sockets") as host:
            return psycopg.connect(self.config["postgres_admin_dsn"], host=host, autocommit=True)

    def listeners(self) -> Sequence[Listener]:
        owners = {pid: service for service, pid in self._pids.items()}
        found = [
            Listener(kind, address.removeprefix("::ffff:"), port, _owner(pid, owners))  # mapped IPv4 is IPv4
            for kind, address, port, pid in self._host.listeners()
            if pid not in self.instruments
        ]
        return [each for each in found if each.service not in self.beside]

    def containers(self) -> Sequence[ContainerFacts]:
        return self.runner.facts()

    def image_files(self, container: ContainerFacts) -> Sequence[ImageFile]:
        return rootfs.files(container)

    def image_file(self, container: ContainerFacts, path: str) -> bytes:
        return rootfs.read(container, path)

    def resources(self) -> Resources:
        return self.runner.resources()

    def files(self) -> Sequence[Path]:
        self.runner.keep_logs()
        roots = [self.home / "config", self.home / "logs", self.data_dir]
        return sorted(path for root in roots for path in root.rglob("*") if path.is_file())

    def logs(self, service: str) -> str:
        return self.runner.logs(service)

    # -- its processes

    def put_beside(self, name: str, component: Component) -> None:
        """A server of the customer's in its site; to be started, killed and paused like a service."""
        self.runner.components[name] = component
        self.beside = (*self.beside, name)

    def put_within(self, name: str, component: Component) -> None:
        """A server that is part of the node, and there before its services are."""
        self.runner.components[name] = component
        self.services = (name, *self.services)
        self.config["ports"][name] = component.port

    def alive(self, service: str) -> bool:
        return service in self._pids and self.runner.ended(service) is None

    def pid(self, service: str) -> int | None:
        return self._pids.get(service)

    def pids(self) -> Mapping[str, int]:
        return {service: pid for service, pid in self._pids.items() if self.alive(service)}

    def start(
        self, service: str, *, env: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        if self.alive(service):
            raise ValueError(f"{self.name}: {service} runs already")
        path = self.config_file if config is None else self.config_file.with_name(f"node-{service}.json")
        if config is not None:
            self.write_config(path, **config)
        if env or config:
            self._changed.add(service)
        else:
            self._changed.discard(service)
        self._pids[service] = self.runner.start(service, path, {**self.preload(service), **(env or {})})
        self._expected_down.discard(service)
        self._paused.discard(service)

    @property
    def config_file(self) -> Path:
        return self.home / "config" / "node.json"

    def write_config(self, path: Path, **changes: Any) -> None:
        """For its services: the superuser's way into the database is for the install step alone."""
        self.runner.write_config(path, {**self.config, "postgres_admin_dsn": None, **changes})

    def kill(self, service: str) -> None:
        self._end(service, signal.SIGKILL)

    def stop(self, service: str) -> None:
        """Ask it to end (PostgreSQL: fast shutdown), then insist."""
        self._end(service, signal.SIGINT if service == "postgres" else signal.SIGTERM)

    def pause(self, service: str) -> None:
        if not self.alive(service):
            raise ValueError(f"{self.name}: {service} does not run")
        self.runner.pause(service)
        self._paused.add(service)

    def resume(self, service: str) -> None:
        if service in self._paused:
            self._paused.discard(service)
            self.runner.resume(service)

    def excuse(self, service: str) -> None:
        """Until its next start, that it ends is no crash: what it needs has been taken away on purpose."""
        self._expected_down.add(service)

    def _end(self, service: str, number: int) -> None:
        self._expected_down.add(service)
        if service not in self._pids:
            return
        if number == signal.SIGKILL:
            self.runner.kill(service)
            self._paused.discard(service)
        else:
            self.runner.signal(service, number)
            self.resume(service)
        deadline = time.monotonic() + 5
        while self.runner.ended(service) is None:
            if time.monotonic() > deadline:
                self.runner.kill(service)
                deadline += 5
            time.sleep(0.005)

    def close(self, *, keep_files: bool = False) -> None:
        """End every service, the database last, and leave nothing of them but files."""
        for service in reversed((*self.beside, *self.services)):
            with contextlib.suppress(Exception):  # servers of others take long to end, and what they keep goes too
                self.kill(service) if service in self.runner.components else self.stop(service)
        if keep_files:
            with contextlib.suppress(Exception):
                self.runner.keep_logs()

    def crashed(self) -> list[str]:
        """Services that ended though nobody asked, each told once."""
        found = []
        for service, pid in self._pids.items():
            if service in self._expected_down or pid in self._told:
                continue
            how = self.runner.ended(service)
            if how is not None:
                self._told.add(pid)
                found.append(f"service {service} of node {self.name} ended by itself ({how})")
        return found

    def restore(self) -> None:
        """Every service up and running again, with the node's own configuration."""
        for service in self._paused.copy():
            self.resume(service)
        for service in self._changed.copy():
            self.stop(service)
        for service in (*self.beside, *self.services):
            if not self.alive(service):
                self.start(service)

    # -- readiness

    def wait_ready(self, deadline_s: float = 30.0) -> float:
        started = time.monotonic()
        waiting = [service for service in self.services if service in PRODUCT_SERVICES]
        detail = "no answer"
        while waiting:
            service = waiting[0]
            for gone in self.services:  # also what the others stand on
                if not self.alive(gone) and gone not in self._expected_down:
                    raise NotReady(f"{self.name}: {gone} ended while starting. Last log lines:\n{self._tail(gone)}")
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
        """Resident memory of the node's own services: not of PostgreSQL, nor of what else they stand on."""
        import psutil

        return sum(
            psutil.Process(pid).memory_info().rss
            for service, pid in self._pids.items()
            if service in PRODUCT_SERVICES and self.alive(service)
        )


def _owner(pid: int | None, services: Mapping[int, str]) -> str | None:
    """The service that a process is of, or descends from."""
    import psutil

    if pid is None or pid in services:
        return services.get(pid or 0)
    with contextlib.suppress(psutil.Error):
        return next((services[each.pid] for each in psutil.Process(pid).parents() if each.pid in services), None)
    return None

"""Services of a node as containers of its site."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.contract import ContainerFacts, Limits, Resources
from environments.drivers import models
from environments.drivers.containers import labels
from environments.drivers.containers.cgroups import GroupResources
from environments.drivers.containers.engine import MEMORY_BYTES, Containers, Spec, Started, asking, said
from environments.drivers.containers.facts import of_site
from environments.drivers.containers.pods import Pod
from environments.drivers.local import postgres
from environments.drivers.local.hosts import ZONE
from environments.drivers.local.node import PRODUCT_SERVICES
from environments.drivers.local.processes import write_private
from environments.drivers.runner import Component

if TYPE_CHECKING:
    from environments.images.manifest import Built

CONFIG, DATA = "/etc/companyos", "/var/lib/companyos"
HSM, TPM = "/var/lib/softhsm", "/run/tpm"
CLUSTER, SOCKETS = "/var/lib/postgresql/data", "/run/postgresql"
NOTICED_S = 10.0  # within which an engine says that a process which has ended has ended
_SIGNALLED = 128  # an exit code above it: the number of the signal that ended it


@dataclass(frozen=True)
class Place:
    """Where a node's services run, and within which bounds."""

    node: str
    site: str
    pod: Pod
    sealed: bool
    memory_bytes: int = MEMORY_BYTES
    cpus: float | None = None


@dataclass(frozen=True)
class Folders:
    """Of a node, on this host. Each is mounted where its services expect it."""

    home: Path
    data: Path
    cluster: Path

    @property
    def inside(self) -> Mapping[Path, str]:
        services = {self.home / "config": CONFIG, self.data: DATA, self.home / "sockets": SOCKETS}
        keepers = {self.home / "hsm": HSM, self.home / "tpm": TPM}
        return services | {self.cluster: CLUSTER, self.home / "models": models.FOLDER} | keepers


@dataclass
class ContainerRunner:
    """See Runner. Each start is a container of its own, so that environment and command are those of that start."""

    containers: Containers
    images: Mapping[str, Built]
    place: Place
    folders: Folders
    port: int | None  # of PostgreSQL
    components: dict[str, Component] = field(default_factory=dict)
    _runs: dict[str, Started] = field(default_factory=dict)
    _ends: dict[str, str] = field(default_factory=dict)  # service -> how its last process ended
    _said: dict[str, str] = field(default_factory=dict)  # service -> what containers that are gone have said

    def write_config(self, path: Path, config: Mapping[str, Any]) -> None:
        write_private(path, json.dumps(self._inside(config), default=str, indent=1))
        own(path, self.images["companyos"])

    def _inside(self, value: Any) -> Any:
        """With the paths of this host as the services see them."""
        if isinstance(value, Mapping):
            return {key: self._inside(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._inside(each) for each in value]
        if isinstance(value, str | Path):
            text = str(value)
            for host, inside in self.folders.inside.items():
                text = text.replace(str(host), inside)
            return text
        return value

    def start(self, service: str, config: Path, env: Mapping[str, str]) -> int:
        self._dispose(service)
        self._runs[service] = started = self.containers.start(self._spec(service, config, env))
        return started.pid

    def _spec(self, service: str, config: Path, env: Mapping[str, str]) -> Spec:
        if service == "postgres":
            assert self.port is not None, "a node with PostgreSQL has a port for it"
            mounts = {self.folders.cluster: (CLUSTER, "rw"), self.folders.home / "sockets": (SOCKETS, "rw")}
            command = postgres.arguments(CLUSTER, SOCKETS, self.port)
            return self.spec(service, "postgres", ["postgres"], command, mounts, env)
        if service in self.components:
            return self._component(service, self.components[service], env)
        assert service in PRODUCT_SERVICES, f"no image is known for {service}"
        command = ["--config", f"{CONFIG}/{config.name}", "--role", service]
        return self.spec(service, "companyos", None, command, self._product_mounts(), env)

    def _component(self, service: str, what: Component, env: Mapping[str, str]) -> Spec:
        for folder, (_, how) in what.mounts.items():
            if how == "rw":
                own(folder, self.images[what.image])
        made = self.spec(service, what.image, what.argv[:1] or None, what.argv[1:], what.mounts, {**env, **what.env})
        return replace(made, memory_bytes=what.memory_bytes)

    def _product_mounts(self) -> dict[Path, tuple[str, str]]:
        mounts = {self.folders.home / "config": (CONFIG, "ro"), self.folders.data: (DATA, "rw")}
        some = {
            self.folders.home / "hsm": (HSM, "rw"),
            self.folders.home / "tpm": (TPM, "rw"),
            self.folders.home / "models": (models.FOLDER, "ro"),
        }
        return mounts | {path: where for path, where in some.items() if path.exists()}

    def spec(
        self,
        service: str,
        image: str,
        entrypoint: Sequence[str] | None,
        command: Sequence[str],
        mounts: Mapping[Path, tuple[str, str]],
        env: Mapping[str, str],
    ) -> Spec:
        place = self.place
        sealed = {"CONFORM_SEALED": "1"} if place.sealed else {}  # defects that reach out do so only here
        limited = service in PRODUCT_SERVICES
        return Spec(
            self.images[image],
            f"{place.node}-{service}",
            {labels.SITE: place.site, labels.NODE: place.node, labels.SERVICE: service},
            f"container:{place.pod.container_id}",
            command,
            entrypoint,
            {"TZ": ZONE, **sealed, **env},
            mounts,
            memory_bytes=place.memory_bytes if limited else MEMORY_BYTES,
            cpus=place.cpus if limited else None,
        )

    def install(self, config: Path, deadline_s: float) -> tuple[int, str]:
        """Run the product's install step: (exit code, what it said)."""
        command = ["--config", f"{CONFIG}/{config.name}"]
        mounts = self._product_mounts() | {self.folders.home / "sockets": (SOCKETS, "rw")}
        step = ["/usr/bin/python3", "-m", "environments.companyos.install"]
        return self.containers.run(self.spec("install", "companyos", step, command, mounts, {}), deadline_s)

    def keys(self, arguments: Sequence[str], env: Mapping[str, str], deadline_s: float) -> tuple[int, str]:
        """Run the product's tool for keys: (exit code, what it said)."""
        tool = ["/usr/bin/python3", "-m", "environments.companyos.keys"]
        command = ["--config", f"{CONFIG}/node.json", *arguments]
        role = f"keys-{secrets.token_hex(3)}"
        return self.containers.run(self.spec(role, "companyos", tool, command, self._product_mounts(), env), deadline_s)

    def ended(self, service: str) -> str | None:
        if service in self._ends:
            return self._ends[service]
        run = self._runs[service]
        if run.lives():
            return None
        deadline = time.monotonic() + NOTICED_S
        with asking(f"how {self.place.node}/{service} ended"):
            while True:
                run.container.reload()
                state = run.container.attrs["State"]
                if not state["Running"] or time.monotonic() > deadline:
                    break
                time.sleep(0.01)  # the poll interval of a named condition with a deadline: the kernel knew first
        self._ends[service] = _how(state)
        return self._ends[service]

    def signal(self, service: str, number: int) -> None:
        if self._runs[service].lives():
            self._tell(service, number)

    def kill(self, service: str) -> None:
        if self._runs[service].lives():
            self._tell(service, 9)

    def _tell(self, service: str, number: int) -> None:
        from docker.errors import APIError

        with asking(f"signal {number} to {self.place.node}/{service}"):
            try:
                self._runs[service].container.kill(number)
            except APIError:
                if self._runs[service].lives():  # else it ended meanwhile
                    raise

    def pause(self, service: str) -> None:
        with asking(f"pausing {self.place.node}/{service}"):
            self._runs[service].container.pause()

    def resume(self, service: str) -> None:
        if self._runs[service].lives():
            with asking(f"resuming {self.place.node}/{service}"):
                self._runs[service].container.unpause()

    def logs(self, service: str) -> str:
        run = self._runs.get(service)
        if run is None:
            return self._said.get(service, "")
        with asking(f"the log of {self.place.node}/{service}"):
            return self._said.get(service, "") + said(run.container)

    def host_path(self, path: str) -> Path:
        for host, inside in self.folders.inside.items():
            if Path(path).is_relative_to(inside):
                return host / Path(path).relative_to(inside)
        raise KeyError(f"{path} is in no folder that this host shares with {self.place.node}")

    def abandon(self) -> None:
        self.containers.abandon()

    def facts(self) -> Sequence[ContainerFacts]:
        return of_site(self.containers.client, self.place.pod.container_id)

    def resources(self) -> Resources:
        declared = Limits(self.place.memory_bytes, self.place.cpus)
        pids = {service: run.pid for service, run in self._runs.items() if service in PRODUCT_SERVICES and run.lives()}
        return GroupResources(dict.fromkeys(pids, declared), pids)

    def keep_logs(self) -> None:
        for service in self._runs.keys() | self._said.keys():
            write_private(self.folders.home / "logs" / f"{service}.log", self.logs(service))

    def _dispose(self, service: str) -> None:
        """Of the container of the last start, all but what it said."""
        self._ends.pop(service, None)
        if service in self._runs:
            self._said[service] = self.logs(service)
            self.containers.remove(self._runs.pop(service))


def _how(state: Mapping[str, Any]) -> str:
    code = int(state["ExitCode"])
    told = f"exit {_SIGNALLED - code if code > _SIGNALLED else code}"
    return f"{told}, out of memory" if state.get("OOMKilled") else told


def own(path: Path, image: Built) -> None:
    """Give a file, or a folder with all that is in it, to the user of an image."""
    os.chown(path, image.uid, image.uid, follow_symlinks=False)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(folder, name), image.uid, image.uid, follow_symlinks=False)

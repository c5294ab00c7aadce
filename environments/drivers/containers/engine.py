"""Containers of one deployment: made under its labels, held to its rules, gone with it.

Whatever the engine refuses or fails to answer is the suite's own fault (SuiteError): it is no verdict on the product.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import select
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.contract import SuiteError
from environments.drivers.containers import labels
from environments.images.engines import engine

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from environments.images.manifest import Built

LOG_BYTES, LOG_FILES = 8 << 20, 2  # what the engine keeps of what a service says
MEMORY_BYTES, PIDS = 2 << 30, 512  # where a profile sets no limit: no service may take the machine down
TMP_BYTES = 64 << 20
# Of files that a process may have open and of processes of its user, as far as this host lets anybody go: the defaults
# of Podman go further than many a host, which then refuses to start anything. What bounds a service is PIDS.
LIMITS = {
    "nofile": min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    "nproc": min(16384, resource.getrlimit(resource.RLIMIT_NPROC)[1]),
}
WATCH_S = 1.0  # how often the engine is asked whether it lives
DEAF_S = 10.0  # without an answer for so long it does not


@dataclass(frozen=True)
class Spec:
    """One container. mounts: host path -> (path inside, ro or rw). entrypoint None: the image's. What is not here is
    the same for all of them."""

    image: Built
    role: str  # the end of its name: <node>-<service>
    labels: Mapping[str, str]
    network: str  # none, or container:<id>
    command: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[Path, tuple[str, str]] = field(default_factory=dict)
    tmpfs: Sequence[str] = ("/tmp",)
    memory_bytes: int = MEMORY_BYTES
    cpus: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # further options, as the docker SDK names them


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Errors of the engine become SuiteError, with what was asked of it."""
    from docker.errors import APIError, DockerException
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        raise SuiteError(f"{what}: the container engine refuses: {error.explanation or error}") from error
    except (DockerException, RequestException, HTTPError, OSError) as error:
        raise SuiteError(f"{what}: the container engine does not answer ({_inner(error)})") from error


def _inner(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:200]


@dataclass(frozen=True)
class Started:
    """A container and its first process on this host; pid 0, without handle, if that ended before it was seen."""

    id: str
    container: Container
    pid: int
    handle: int | None  # a pidfd: it stays that process, and tells when it ends

    def lives(self) -> bool:
        """Asks the kernel, not the engine."""
        return self.handle is not None and not select.select([self.handle], [], [], 0)[0]

    def end(self) -> None:
        """SIGKILL past the engine, and with it to all of the container: its first process is gone."""
        if self.handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def forget(self) -> None:
        if self.handle is not None:
            os.close(self.handle)


class Containers:
    """Safe to use from several threads."""

    def __init__(self, run_id: str, deployment: str, names: Mapping[Path, str] | None = None) -> None:
        """deployment: a name that no other deployment of the run has. names: files by which those that share a
        namespace find names, and where they belong; Docker would give them the holder's, Podman the host's. Raises
        EngineMissing."""
        self._names = names or {}
        self._name = f"conform-{run_id}-{deployment}"
        self._labels = {
            labels.RUN: run_id,
            labels.DEPLOYMENT: deployment,
            labels.OWNER: labels.Owner.this_process().written(),
        }
        self.client: DockerClient = engine()
        self._closed = threading.Event()
        self._started: dict[str, Started] = {}
        _choose_reaper(self.client)

    def start(self, spec: Spec) -> Started:
        """Create and start it."""
        from testcontainers.core.container import DockerContainer

        if self._closed.is_set():
            raise SuiteError(f"{spec.role} is not started: its deployment has been given up")
        with asking(f"starting {spec.role}"):
            made = DockerContainer(spec.image.image_id, env=dict(spec.env)).with_name(f"{self._name}-{spec.role}")
            made.image = spec.image.image_id  # no prefix of a registry belongs before it
            made.with_command(list(spec.command))
            for host, (inside, mode) in spec.mounts.items():
                made.with_volume_mapping(host, inside, mode)
            for source, inside in self._names.items() if spec.network != "none" else ():
                made.with_volume_mapping(source, inside, "ro")
            for path in spec.tmpfs:
                made.with_tmpfs_mount(path, f"size={TMP_BYTES},mode=1777")
            made.with_kwargs(**self._options(spec))
            try:
                identifier = made.start().get_container_id()
            finally:
                made.get_docker_client().client.close()
            container = self.client.containers.get(identifier)
        started = Started(identifier, container, *_process(container))
        self._started[identifier] = started
        return started

    def _options(self, spec: Spec) -> dict[str, Any]:
        from docker.types import LogConfig, Ulimit

        log = LogConfig(type="json-file", config={"max-size": str(LOG_BYTES), "max-file": str(LOG_FILES)})
        return {
            "network": None,  # else testcontainers looks for one to join
            "network_mode": spec.network,
            "labels": {**self._labels, **spec.labels},
            "entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
            "user": f"{spec.image.uid}:{spec.image.uid}",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "pids_limit": PIDS,
            "mem_limit": spec.memory_bytes,
            "memswap_limit": spec.memory_bytes,
            "nano_cpus": None if spec.cpus is None else round(spec.cpus * 1e9),
            "ulimits": [Ulimit(name=name, soft=most, hard=most) for name, most in LIMITS.items()],
            "log_config": log,
            **spec.more,
        }

    def run(self, spec: Spec, deadline_s: float) -> tuple[int, str]:
        """Start it, wait for its end, remove it: (exit code, what it said). SuiteError if it does not end."""
        started = self.start(spec)
        try:
            with asking(f"waiting {deadline_s:g} s for the end of {spec.role}"):
                code = int(started.container.wait(timeout=deadline_s)["StatusCode"])
                return code, said(started.container)
        finally:
            self.remove(started)

    def file_of(self, image: Built, path: str) -> bytes:
        """A file of an image, by a container that is never started."""
        with asking(f"reading {path} of {image.name}"):
            made = self.client.containers.create(image.image_id, labels=self._labels, network_mode="none")
            try:
                return content_of(made, path)
            finally:
                made.remove(force=True)

    def remove(self, started: Started) -> None:
        """With all it wrote. Nothing happens if it is gone."""
        _remove(started.container)
        kept = self._started.pop(started.id, None)
        if kept is not None:
            kept.forget()

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call `lost` from a thread, with the reason, when the engine ends or has not answered for DEAF_S."""
        pinging = engine(round(DEAF_S))

        def ask() -> None:
            while not self._closed.wait(WATCH_S):
                try:
                    with asking("asking whether it lives"):
                        pinging.ping()
                except SuiteError as error:
                    if not self._closed.is_set():
                        lost(f"the container engine of this deployment is gone: {error}")
                    return
            pinging.close()

        threading.Thread(target=ask, name="engine watch", daemon=True).start()

    def abandon(self) -> None:
        """End the processes of every container at once, and start nothing any more; `close` removes them."""
        self._closed.set()
        for each in list(self._started.values()):
            each.end()

    def close(self) -> None:
        """Remove every container of the deployment. Where the engine is gone its processes are ended all the same;
        what it keeps of them is removed by `conform clean` once it is back. Safe to call twice."""
        self._closed.set()
        mine = [f"{name}={value}" for name, value in self._labels.items()]
        try:
            with asking("listing the containers of this deployment"):
                left = self.client.containers.list(all=True, filters={"label": mine}, ignore_removed=True)
            held = [each for each in left if each.labels.get(labels.SERVICE) == labels.PAUSE]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(_remove, [each for each in left if each not in held]))
                list(pool.map(_remove, held))  # Podman removes none whose namespace others share
        finally:
            for each in self._started.values():
                each.end()
                each.forget()
            self._started.clear()
            self.client.close()


def said(container: Container) -> str:
    return container.logs(stdout=True, stderr=True).decode("utf-8", "replace")


def content_of(container: Container, path: str) -> bytes:
    """Of a file in it, started or not."""
    stream, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None, f"{path} is no file"
        return file.read()


def _remove(container: Container) -> None:
    from docker.errors import NotFound

    with asking(f"removing {container.name}"), contextlib.suppress(NotFound):
        container.remove(force=True, v=True)


def _process(container: Container) -> tuple[int, int | None]:
    """(pid, handle) of its first process. SuiteError where the engine's processes are not this host's to see."""
    pid = int(container.attrs["State"]["Pid"])
    handle = None
    try:
        handle = os.pidfd_open(pid) if pid else None
        group = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8") if pid else str(container.id)
    except OSError as error:
        if handle is not None:
            os.close(handle)
        if error.errno in (errno.ESRCH, errno.ENOENT, errno.EINVAL):
            return 0, None
        raise
    if str(container.id) not in group:
        raise SuiteError(
            f"the container engine says that {container.name} is process {pid}, which is another one here: it runs on "
            "another machine, or in other namespaces. Run the suite where its engine runs (in a container: --pid host)"
        )
    return pid, handle


def _choose_reaper(client: DockerClient) -> None:
    """Testcontainers' reaper where its image is there and can be reached; elsewhere `conform clean` sweeps."""
    from docker.errors import ImageNotFound
    from testcontainers.core.config import testcontainers_config as configured

    if "TESTCONTAINERS_RYUK_DISABLED" in os.environ:
        return
    try:
        client.images.get(configured.ryuk_image)
        bridged = bool(client.networks.list(names=["bridge"]))
    except ImageNotFound:
        bridged = False
    configured.ryuk_disabled = not bridged

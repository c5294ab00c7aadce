"""What tells a container of ours from all others, and whose it is: labels. Names are for people."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from environments.drivers.local.running import owner_lives

PREFIX = "companyos-conform"
RUN, DEPLOYMENT, OWNER = f"{PREFIX}.run", f"{PREFIX}.deployment", f"{PREFIX}.owner"
PAUSE = "pause"  # the service of a container that holds a site's namespace
SITE, NODE, SERVICE = f"{PREFIX}.site", f"{PREFIX}.node", f"{PREFIX}.service"


@dataclass(frozen=True)
class Owner:
    """The process that a container was made for. Its id says something only where and since when it was given:
    an engine keeps its containers over a restart of the machine, and may serve processes of other PID namespaces."""

    boot_id: str
    pid_namespace: int
    pid: int
    started_at_s: float

    @classmethod
    def this_process(cls) -> Self:
        pid = os.getpid()
        return cls(_boot_id(), _pid_namespace(), pid, psutil.Process(pid).create_time())

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None for what is no owner of ours."""
        with contextlib.suppress(ValueError):
            boot_id, namespace, pid, started = text.split(" ")
            return cls(boot_id, int(namespace), int(pid), float(started))
        return None

    def written(self) -> str:
        return f"{self.boot_id} {self.pid_namespace} {self.pid} {self.started_at_s:.2f}"

    def gone(self) -> bool:
        """Whether it surely does not live any more; of a process in another PID namespace nobody here can tell."""
        if self.boot_id != _boot_id():
            return True
        return self.pid_namespace == _pid_namespace() and not owner_lives(self.pid, self.started_at_s)


def orphaned(labels: Mapping[str, str]) -> bool:
    """Whether these are labels of a run whose owner is gone. What is not surely ours and dead is not touched."""
    owner = Owner.read(labels.get(OWNER, ""))
    return RUN in labels and owner is not None and owner.gone()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino

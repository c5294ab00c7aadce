"""Known-bad containers: the images and the product are right, and how they are run is not. See drivers.defects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace as changed
from typing import Any

from environments.drivers.containers.engine import Containers, Spec, Started
from environments.drivers.defects import Replace, driver_defect

WAITS = ("/usr/bin/python3", "-c", "import signal; signal.pause()")
FLOATING = "companyos-conform/floating"
PRODUCT = ("-data", "-edge")  # ends of the roles of the services that the defects are put on


def _options(replace: Replace, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """The product's services are started with other options."""
    genuine = Containers._options

    def options(self: Containers, spec: Spec) -> dict[str, Any]:
        found = genuine(self, spec)
        return {**found, **change(found)} if spec.role.endswith(PRODUCT) else found

    replace(Containers, "_options", options)


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_privileged_sidecar(replace: Replace) -> None:
    """A helper for debugging runs beside the product as good as privileged, and was never taken out of the manifests.

    Not by the engine's own word for it: hosts that lack a capability themselves refuse to start that."""
    genuine = Containers.start

    def start(self: Containers, spec: Spec) -> Started:
        if spec.role.endswith(PRODUCT):
            powers = {
                "user": "0:0",
                "pid_mode": "host",
                "cap_drop": [],
                "cap_add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"],
                "security_opt": ["seccomp=unconfined"],
            }
            helper = changed(spec, role=f"{spec.role}-debug", command=(), entrypoint=WAITS, mounts={}, more=powers)
            genuine(self, helper)
        return genuine(self, spec)

    replace(Containers, "start", start)


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_runs_as_root(replace: Replace) -> None:
    """The image names no user and nobody gave one: root, with all that the engine leaves to it."""
    _options(replace, lambda options: {"user": "0:0", "cap_drop": []})


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_root_is_writable(replace: Replace) -> None:
    """The root file system takes writes: what breaks in can stay."""
    _options(replace, lambda options: {"read_only": False})


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_keeps_capabilities(replace: Replace) -> None:
    """The engine's default set of capabilities is kept, raw sockets and chown among it."""
    _options(replace, lambda options: {"cap_drop": [], "cap_add": ["NET_RAW"]})


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_in_the_hosts_processes(replace: Replace) -> None:
    """The process namespace is the host's, so that a monitor can see everything; so can everybody."""
    _options(replace, lambda options: {"pid_mode": "host"})


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_unconfined(replace: Replace) -> None:
    """Seccomp was switched off to make a profiler work, and new privileges were allowed with it."""
    _options(replace, lambda options: {"security_opt": ["seccomp=unconfined"]})


@driver_defect(kills=("SEC-02",), drivers=("containers",))
def container_by_floating_tag(replace: Replace) -> None:
    """The image is named by a tag, which means what its registry makes it mean."""
    genuine = Containers.start

    def start(self: Containers, spec: Spec) -> Started:
        if not spec.role.endswith(PRODUCT):
            return genuine(self, spec)
        tag = self._name[-40:]
        self.client.images.get(spec.image.image_id).tag(FLOATING, tag)
        return genuine(self, changed(spec, image=changed(spec.image, image_id=f"{FLOATING}:{tag}")))

    def close(self: Containers, genuine: Callable[[Containers], None] = Containers.close) -> None:
        names = self.client.images.list(name=FLOATING) if not self._closed.is_set() else []
        for tag in [tag for image in names for tag in image.tags if tag.endswith(f":{self._name[-40:]}")]:
            self.client.images.remove(tag, noprune=True)
        genuine(self)

    replace(Containers, "start", start)
    replace(Containers, "close", close)


@driver_defect(kills=("OPS-04",), drivers=("containers",), modes=("D",))
def container_without_limits(replace: Replace) -> None:
    """The limits of the profile are in a document, and nobody told the engine."""
    _options(replace, lambda options: {"mem_limit": None, "memswap_limit": None, "nano_cpus": None})

"""Known-bad containers: the images and the product are right, and how they are run is not. See drivers.defects."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from environments.drivers import models
from environments.drivers.containers.engine import Containers, Spec, Started, content_of
from environments.drivers.defects import Replace, driver_defect
from environments.drivers.local.deployment import LocalDeployment

WAITS = ("/usr/bin/python3", "-c", "import signal; signal.pause()")
FLOATING, CHANGED = "companyos-conform/floating", "companyos-conform/changed"
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
        tag = _tag(self)
        self.client.images.get(spec.image.image_id).tag(FLOATING, tag)
        return genuine(self, changed(spec, image=changed(spec.image, image_id=f"{FLOATING}:{tag}")))

    replace(Containers, "start", start)
    _remove_after(replace, FLOATING)


@driver_defect(kills=("OPS-04",), drivers=("containers",), modes=("D",))
def container_without_limits(replace: Replace) -> None:
    """The limits of the profile are in a document, and nobody told the engine."""
    _options(replace, lambda options: {"mem_limit": None, "memswap_limit": None, "nano_cpus": None})


def _another_image(replace: Replace, change: Callable[[Any], None]) -> None:
    """The product's services run from an image that was changed after its SBOM was made. change: of a container that
    was created and not started."""
    genuine = Containers.start

    def start(self: Containers, spec: Spec) -> Started:
        if not spec.role.endswith(PRODUCT):
            return genuine(self, spec)
        container = self.client.containers.create(spec.image.image_id, labels=self._labels, network_mode="none")
        try:
            change(container)
            made = container.commit(CHANGED, _tag(self))
        finally:
            container.remove(force=True)
        return genuine(self, changed(spec, image=changed(spec.image, image_id=str(made.id))))

    replace(Containers, "start", start)
    _remove_after(replace, CHANGED)


def _tag(deployment: Containers) -> str:
    """Of the images that are made for it: the end of its name, which as a tag may not begin with a dash."""
    return deployment._name[-40:].lstrip("-")


def _remove_after(replace: Replace, repository: str) -> None:
    """The images that a defect made for this deployment go with it."""
    genuine = Containers.close

    def close(self: Containers) -> None:
        tag = f":{_tag(self)}"
        closed = self._closed.is_set()
        found = [] if closed else self.client.images.list(name=repository)
        names = [name for image in found for name in image.tags if name.endswith(tag)]
        if names:  # the engine's client is closed with the deployment
            from environments.images import engine

            client = engine()
            genuine(self)
            for name in names:
                client.images.remove(name, force=True)
            client.close()
        else:
            genuine(self)

    replace(Containers, "close", close)


def _put(container: Any, folder: str, name: str, content: bytes, mode: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), mode
        tar.addfile(info, io.BytesIO(content))
    container.put_archive(folder, buffer.getvalue())


@driver_defect(kills=("SEC-08",), drivers=("containers",))
def container_with_an_undeclared_binary(replace: Replace) -> None:
    """A tool was copied into the image by hand, after the SBOM: nobody looks after it."""
    program = b"\x7fELF" + b"a tool of somebody's"
    _another_image(replace, lambda container: _put(container, "/usr/bin", "nc", program, 0o755))


@driver_defect(kills=("SEC-08",), drivers=("containers",))
def container_with_an_old_sbom(replace: Replace) -> None:
    """The SBOM is that of the last release: the versions in it are not those in the image."""

    def change(container: Any) -> None:
        document = json.loads(content_of(container, "/usr/share/sbom/companyos.cdx.json"))
        for component in document["components"]:
            if component["name"].lower() == "starlette":
                component["version"] = "0.1.0"
        _put(container, "/usr/share/sbom", "companyos.cdx.json", json.dumps(document).encode(), 0o644)

    _another_image(replace, change)


@driver_defect(kills=("FUN-02",), drivers=("containers",), modes=("A", "B", "D"))
def container_model_quantised_on_site(replace: Replace) -> None:
    """To save memory somebody quantised the model again where it runs: it has the name, and not the bytes."""
    genuine = models.put_within

    def put_within(deployment: LocalDeployment, server: models.ModelServer | str) -> dict[str, str]:
        released = genuine(deployment, server)
        for node in models.served(deployment) if released else ():
            path = Path(node.config["model_file"])
            path.write_bytes(path.read_bytes() + b"\0")
        return released

    replace(models, "put_within", put_within)

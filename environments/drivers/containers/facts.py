"""What the engine says of the containers of a site, and what the kernel says of their processes."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.contract import ContainerFacts, Mount, ProcessFacts
from environments.drivers.containers import labels
from environments.drivers.containers.engine import asking

if TYPE_CHECKING:
    from docker import DockerClient

NAMESPACES = ("net", "pid", "ipc", "uts", "mnt", "cgroup")
CAPABILITIES = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}
TRIED = ("usr", "etc", "opt", "")  # folders that a write is tried in: the first that is there


def of_site(client: DockerClient, pod: str) -> Sequence[ContainerFacts]:
    """Every running container in the network namespace of the pod (its id), the pod itself too. Labels are not asked:
    a container that nobody declared has none."""
    from docker.errors import NotFound

    found = []
    with asking("inspecting the containers of a site"):
        for listed in client.api.containers():
            with contextlib.suppress(NotFound):  # ended since
                inspected = client.api.inspect_container(listed["Id"])
                if pod in (inspected["Id"], str(inspected["HostConfig"]["NetworkMode"]).removeprefix("container:")):
                    found.append(facts(inspected))
    return sorted(found, key=lambda each: each.name)


def facts(inspected: Mapping[str, Any]) -> ContainerFacts:
    """Of one container, by its inspection (GET /containers/{id}/json)."""
    host, config = inspected["HostConfig"], inspected["Config"]
    asked = {"pid": host.get("PidMode"), "ipc": host.get("IpcMode"), "uts": host.get("UTSMode")}
    asked |= {"net": host.get("NetworkMode"), "user": host.get("UsernsMode"), "cgroup": host.get("CgroupnsMode")}
    return ContainerFacts(
        name=str(inspected["Name"]).lstrip("/"),
        service=str((config.get("Labels") or {}).get(labels.SERVICE, "")),
        image_id=str(inspected["Image"]),
        image_reference=str(config["Image"]),
        user=str(config.get("User") or ""),
        privileged=bool(host.get("Privileged")),
        read_only_root=bool(host.get("ReadonlyRootfs")),
        capabilities_added=tuple(host.get("CapAdd") or ()),
        capabilities_dropped=tuple(host.get("CapDrop") or ()),
        security_options=tuple(host.get("SecurityOpt") or ()),
        host_namespaces=tuple(sorted(kind for kind, value in asked.items() if value == "host" and kind != "cgroup")),
        devices=tuple(str(each.get("PathOnHost")) for each in host.get("Devices") or ()),
        mounts=tuple(_mounts(inspected)),
        processes=tuple(processes(str(inspected["Id"]))),
    )


def _mounts(inspected: Mapping[str, Any]) -> Iterator[Mount]:
    for each in inspected.get("Mounts") or ():
        yield Mount(str(each.get("Source") or each.get("Type")), str(each["Destination"]), bool(each.get("RW")))
    for target, options in (inspected["HostConfig"].get("Tmpfs") or {}).items():
        yield Mount("tmpfs", str(target), "ro" not in str(options).split(","))


def processes(container_id: str) -> Iterator[ProcessFacts]:
    """Every process of the container: those whose control group carries its id."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended since
            if container_id in (entry / "cgroup").read_text(encoding="utf-8"):
                yield process(entry)


def process(entry: Path) -> ProcessFacts:
    """Of one /proc/PID. OSError: it has ended."""
    status = dict(
        line.split(":\t", 1) for line in (entry / "status").read_text("utf-8", "replace").splitlines() if ":\t" in line
    )
    return ProcessFacts(
        pid=int(entry.name),
        command=(entry / "cmdline").read_text("utf-8", "replace").replace("\0", " ").strip()[:200],
        uids=tuple(int(each) for each in status["Uid"].split()),
        gids=tuple(int(each) for each in status["Gid"].split()),
        capabilities={name: int(status[field], 16) for field, name in CAPABILITIES.items()},
        no_new_privileges=status["NoNewPrivs"].strip() == "1",
        seccomp=int(status["Seccomp"]),
        root_writable=_root_writable((entry / "mountinfo").read_text("utf-8", "replace")),
        write_outcome=_write(entry / "root"),
        own_namespaces=frozenset(kind for kind in NAMESPACES if _namespace(entry, kind) not in _of_host(kind)),
    )


def _namespace(entry: Path, kind: str) -> int:
    return entry.joinpath("ns", kind).stat().st_ino


@cache
def _of_host(kind: str) -> frozenset[int]:
    """The namespaces of the first process, where that can be seen, and of this one."""
    found = {_namespace(Path("/proc/self"), kind)}
    with contextlib.suppress(PermissionError):
        found.add(_namespace(Path("/proc/1"), kind))
    return frozenset(found)


def _root_writable(mountinfo: str) -> bool:
    """The last mount on / is the one in force. Its own options or those of its file system can make it read-only."""
    writable = True
    for line in mountinfo.splitlines():
        fields = line.split()
        if fields[4] == "/":
            options = {*fields[5].split(","), *fields[-1].split(",")}
            writable = "ro" not in options
    return writable


def _write(root: Path) -> str:
    """Try to make a file below the root that the process has, as the host's root: only a read-only mount refuses it."""
    folder = next((root / name for name in TRIED if (root / name).is_dir()), root)
    path = folder / f".conform-{secrets.token_hex(4)}"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    path.unlink()
    return "written"

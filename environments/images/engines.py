"""The container engine, looked at before it is used: there, reachable, new enough, of our architecture, roomy."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.images.errors import EngineMissing

if TYPE_CHECKING:
    import docker

API = (1, 41)  # Docker 20.10; Podman 3 speaks it too
PREFLIGHT_S = 10
CALL_S = 120  # the longest an engine may think about one call: loading an image on a slow disk
MARGIN_BYTES = 512 * 2**20  # kept free on the engine's disk for what containers write
WITHOUT = "the local driver needs no engine: leave out --driver containers"


def engine(timeout_s: int = CALL_S) -> docker.DockerClient:
    """A client of the engine that DOCKER_HOST, or the default socket, names. Raises EngineMissing with the remedy."""
    try:
        import docker
        from docker.errors import DockerException, TLSParameterError
    except ImportError:
        raise EngineMissing(
            "the package docker is not installed. pip install 'companyos-conform[containers]'"
        ) from None
    where = _where()
    try:
        client = docker.from_env(version="auto", timeout=PREFLIGHT_S)
    except (DockerException, TLSParameterError, ValueError) as error:
        raise EngineMissing(_unreachable(where, error)) from None
    try:
        version = client.version()
    except Exception as error:  # requests, urllib3 and docker each have errors of their own here
        client.close()
        raise EngineMissing(_unreachable(where, error)) from None
    refusal = unfit(version, where)
    if refusal:
        client.close()
        raise EngineMissing(refusal)
    client.api.timeout = timeout_s
    return client


def unfit(version: dict[str, Any], where: str) -> str:
    """Why the engine with this answer to /version cannot be used; empty when it can."""
    name, number = _named(version)
    try:
        api = tuple(int(part) for part in str(version.get("ApiVersion", "")).split("."))
    except ValueError:
        return f"{where} answers as no container engine does ({version!r:.80}). Set DOCKER_HOST to a Docker or Podman"
    if api < API:
        return (
            f"the engine at {where} is {name} {number}, API {version.get('ApiVersion')}; "
            f"at least Docker 20.10 (API {API[0]}.{API[1]}) is needed. Install a newer one, e.g. Debian's docker.io"
        )
    if str(version.get("Os", "linux")) != "linux":
        return f"the engine at {where} runs {version.get('Os')} containers; Linux is needed. Use a Linux host"
    arch = str(version.get("Arch", "amd64"))
    if arch not in ("amd64", "x86_64"):
        return (
            f"the engine at {where} runs on {arch}; the images are for linux/amd64, and no emulation is used, "
            f"since it would falsify every time. Use an amd64 host ({WITHOUT})"
        )
    return ""


def _named(version: dict[str, Any]) -> tuple[str, str]:
    for part in version.get("Components") or []:
        if "podman" in str(part.get("Name", "")).lower():
            return "Podman", str(part.get("Version", "?"))
    return "Docker", str(version.get("Version", "?"))


def is_podman(client: docker.DockerClient) -> bool:
    return _named(client.version())[0] == "Podman"


def _where() -> str:
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def _unreachable(where: str, error: Exception) -> str:
    if platform.system() != "Linux":
        return f"this is {platform.system()} on {platform.machine()}; containers here need a Linux amd64 host"
    socket = Path(where.removeprefix("unix://")) if where.startswith("unix://") else None
    if socket is None:
        return f"no engine answers at {where} ({_reason(error)}). Check DOCKER_HOST, or unset it ({WITHOUT})"
    if not socket.exists():
        return (
            f"there is no container engine: {socket} does not exist. Install and start one "
            f"(Debian: apt-get install docker.io), or set DOCKER_HOST ({WITHOUT})"
        )
    if not os.access(socket, os.R_OK | os.W_OK):
        return f"no permission on {socket}. Run as root, or join its group: usermod -aG docker $USER, then log in again"
    return f"{socket} is there and no engine answers ({_reason(error)}). Start it, e.g. systemctl start docker"


def _reason(error: Exception) -> str:
    inner: BaseException = error
    while inner.__context__ is not None:
        inner = inner.__context__
    return f"{type(inner).__name__}: {inner}"[:160]


def free_bytes(client: docker.DockerClient) -> int | None:
    """Free space where the engine keeps images; None if it is not on this machine, or not for us to see."""
    root = client.info().get("DockerRootDir")
    try:
        return (
            shutil.disk_usage(str(root)).free
            if root and not os.environ.get("DOCKER_HOST", "").startswith("tcp")
            else None
        )
    except OSError:
        return None


def require_room(client: docker.DockerClient, needed_bytes: int, cache: Path) -> None:
    """Raises EngineMissing unless `needed_bytes` fit where the engine keeps images, and in the cache."""
    free = free_bytes(client)
    if free is not None:
        _require(needed_bytes, free, "the engine's folder")
    require_free(needed_bytes, cache)


def require_free(needed_bytes: int, folder: Path) -> None:
    """Raises EngineMissing unless so much fits on the disk of `folder`."""
    _require(needed_bytes, shutil.disk_usage(folder).free, str(folder))


def _require(needed_bytes: int, free: int, place: str) -> None:
    if free < needed_bytes + MARGIN_BYTES:
        raise EngineMissing(
            f"the disk of {place} is nearly full: {_mib(needed_bytes + MARGIN_BYTES)} MiB are needed, "
            f"{_mib(free)} MiB are free. Free some (docker system df shows what the engine holds), "
            "or set XDG_CACHE_HOME for the cache and data-root for the engine to a roomier place"
        )


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // 2**20)

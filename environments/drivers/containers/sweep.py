"""Containers, networks and volumes that killed runs left on the engine. Only labels of ours decide; nothing else is
touched, and nothing of a run whose owner lives, or may."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.contract import SuiteError
from environments.drivers.containers import labels
from environments.drivers.containers.engine import asking

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE_S = 10


def sweep(*, dry_run: bool = False) -> list[str]:
    """What was (or would be) removed, a line each; nothing where there is no engine to be reached."""
    client = _engine()
    if client is None:
        return []
    lines: list[str] = []
    try:
        for kind, found, remove in _things(client):
            for each in found:
                if not labels.orphaned(_labels(each)):
                    continue
                lines.append(f"{kind} {each.name} of run {_labels(each)[labels.RUN]}")
                if not dry_run:
                    _quietly(remove, each)
    except SuiteError:  # it went away meanwhile: what it keeps is still there when it is back
        pass
    finally:
        client.close()
    return lines


def _things(client: DockerClient) -> Iterable[tuple[str, list[Any], Callable[[Any], object]]]:
    """Containers first: they hold the others. Those that share a namespace before those whose it is."""
    ours: dict[str, str | list[str] | bool] = {"label": labels.RUN}
    with asking("listing what runs have left"):
        containers = client.containers.list(all=True, filters=ours, ignore_removed=True)
        networks, volumes = client.networks.list(filters=ours), client.volumes.list(filters=ours)
    containers.sort(key=lambda each: each.labels.get(labels.SERVICE) == labels.PAUSE)
    yield "container", containers, lambda each: each.remove(force=True, v=True)
    yield "network", networks, lambda each: each.remove()
    yield "volume", volumes, lambda each: each.remove(force=True)


def _labels(thing: Any) -> dict[str, str]:
    found = thing.labels if hasattr(thing, "labels") else thing.attrs.get("Labels")
    return dict(found or {})


def _quietly(remove: Callable[[Any], object], thing: Any) -> None:
    from docker.errors import APIError, NotFound

    with asking(f"removing {thing.name}"), contextlib.suppress(NotFound):
        try:
            remove(thing)
        except APIError as error:
            if error.response is None or error.response.status_code != 409:  # another sweep is at it
                raise


def _engine() -> DockerClient | None:
    """None where none is installed, none runs, or it is not for us: then no run of ours has left anything there."""
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if where.startswith("unix://") and not Path(where.removeprefix("unix://")).exists():
        return None
    try:
        from environments.images import EngineMissing
        from environments.images.engines import engine

        return engine(PATIENCE_S)
    except EngineMissing:
        return None

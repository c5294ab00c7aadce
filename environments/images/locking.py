"""Writing the lock: what the recipes ask for, resolved against today's indexes. A maintainer's work."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from environments.images import debian, fetching, golang, lockfile, maven, recipe, store
from environments.images.errors import FetchError, LockError
from environments.images.lockfile import GoBinary, Input, Lock, Locked
from environments.images.manifest import Built

GO_VERSION = "go1.26.8"


def lock(only: Iterable[str] = (), say: Callable[[str], None] = lambda _: None) -> Lock:
    """A new lock. `only`: the images to resolve anew; the others stay as they are locked (all, if there is no lock)."""
    held = _held()
    only = list(only)
    chosen = set(only or recipe.names())
    universes = cache(_universe)
    bases = {}
    for name, base in recipe.bases().items():
        if only and held and name in held.bases:
            bases[name] = held.bases[name]
            continue
        say(f"base {name}: packages of {base.suite}")
        bases[name] = _debs(universes(base.suite).closure(base.packages, base.skip), base.suite)
    images = {}
    for name in recipe.names():
        if held and name not in chosen and name in held.images:
            images[name] = held.images[name]
            continue
        say(f"{name}: packages, wheels, jars")
        images[name] = _locked(name, bases, universes)
    created = held.created if held and only else time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
    return Lock(format=1, created=created, bases=bases, toolchain=_toolchain(held), images=images)


def with_ids(lock: Lock, built: Mapping[str, Built]) -> Lock:
    """The lock with the ids of the images that were built from it."""
    images = dict(lock.images)
    for name, image in built.items():
        if not image.replaced:
            ids = {"image_id": image.image_id, "inputs_sha256": image.inputs_sha256}
            images[name] = images[name].model_copy(update=ids)
    return lock.model_copy(update={"images": images})


def _held() -> Lock | None:
    try:
        return lockfile.load()
    except LockError:
        return None


def _universe(suite: str) -> debian.Universe:
    packages: list[debian.Package] = []
    with store.scratch() as scratch:
        for number, (archive, url) in enumerate(debian.index_urls(suite)):
            target = scratch / str(number)
            fetching.download(url, target)
            packages += debian.read_index(archive, target.read_bytes())
    return debian.Universe(packages)


def _debs(packages: Iterable[debian.Package], suite: str) -> tuple[Input, ...]:
    return tuple(deb_input(each, suite) for each in packages)


def deb_input(package: debian.Package, suite: str) -> Input:
    return Input(
        kind="deb",
        name=package.name,
        version=package.version,
        file=Path(package.file).name,
        where=package.file,
        sha256=package.sha256,
        size_bytes=package.size_bytes,
        suite=suite,
    )


def newest(item: Input) -> Input:
    """The package of that name that its suite has now. Raises FetchError if it has none."""
    found = _universe(item.suite).packages.get(item.name)
    if found is None:
        raise FetchError(f"{item.suite} has no package {item.name} any more. Lock anew: conform images lock")
    return deb_input(found, item.suite)


def _locked(name: str, bases: dict[str, tuple[Input, ...]], universes: Callable[[str], debian.Universe]) -> Locked:
    made = recipe.recipe(name)
    inputs: list[Input] = []
    if made.packages and made.suite:
        below = {item.name for item in bases[made.base]} if made.base else set()
        base_skip = recipe.bases()[made.base].skip if made.base else []
        closure = universes(made.suite).closure(made.packages, [*base_skip, *made.skip])
        inputs += _debs((each for each in closure if each.name not in below), made.suite)
    if made.wheels:
        wanted = _wheels(made.wheels)
        inputs += [item for item in wanted if not debian.skipped(item.name, made.wheel_skip)]
    if made.jars:
        inputs += maven.resolve(made.jars, made.jar_skip)
    return Locked(inputs=tuple(inputs), go=tuple(_go(source) for source in made.go))


def _wheels(requirements: list[str]) -> list[Input]:
    found = []
    with store.scratch() as scratch:
        fetching.pip_download(requirements, scratch)
        for path in sorted(scratch.iterdir()):
            name, version = path.name.split("-")[:2]
            item = Input(
                kind="wheel",
                name=re.sub(r"[-_.]+", "-", name).lower(),
                version=version,
                file=path.name,
                sha256=store.sha256_of(path),
                size_bytes=path.stat().st_size,
            )
            found.append(item)
    return found


def _go(source: recipe.GoSource) -> GoBinary:
    """What go.mod says; go.sum pins the contents."""
    return GoBinary(folder=source.folder, files=golang.source_digest(source), module=golang.main_module(source))


def _toolchain(held: Lock | None) -> Input:
    if held and held.toolchain.version == GO_VERSION:
        return held.toolchain
    file = f"v0.0.1-{GO_VERSION}.linux-amd64.zip"
    item = {"kind": "toolchain", "name": "go", "version": GO_VERSION, "file": file}
    item["where"] = f"golang.org/toolchain/@v/{file}"
    blank = Input(**item, sha256="0" * 64, size_bytes=1)  # type: ignore[arg-type]
    with store.scratch() as scratch:
        fetching.download(fetching.address(blank), scratch / "zip")
        size = (scratch / "zip").stat().st_size
        return blank.model_copy(update={"sha256": store.sha256_of(scratch / "zip"), "size_bytes": size})

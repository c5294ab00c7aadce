"""Build images: fetch the inputs, make the layers, load the result into the engine, write it down."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from environments.images import (
    content,
    fetching,
    golang,
    imageconfig,
    loading,
    lockfile,
    locking,
    manifest,
    recipe,
    store,
)
from environments.images.engines import require_room
from environments.images.errors import FetchError, LockError
from environments.images.lockfile import Input, Lock
from environments.images.manifest import Built

if TYPE_CHECKING:
    import docker

GROWN = 4  # what inputs unpack to, and the cache's and the engine's copy of it, at most


class Progress:
    """What a build tells of itself; this one keeps silent."""

    def fetching(self, count: int, total_bytes: int) -> None:
        """So many files are missing."""

    def fetched(self, size_bytes: int) -> None:
        """So much of them arrived."""

    def building(self, name: str) -> None:
        """The layers of this image are being made."""

    def loading(self, name: str) -> None:
        """The engine is being given this image."""

    def done(self, image: Built, fresh: bool) -> None:
        """It is there; `fresh`: it was made now."""

    def note(self, line: str) -> None:
        """Something that the user should know."""


def build(
    names: Iterable[str], client: docker.DockerClient, *, locked: bool = False, progress: Progress | None = None
) -> dict[str, Built]:
    """Build what is missing of these images (all, if none is named) and see that the engine has them.

    `locked`: refuse to take another package than the pinned one. Raises ImagesError.
    """
    told = progress or Progress()
    lock = lockfile.load()
    wanted = list(dict.fromkeys(names)) or recipe.names()
    for name in wanted:
        recipe.recipe(name)
        require_locked(name, lock)
    held = manifest.current(lock)
    stale = [name for name in wanted if name not in held or not _whole(held[name])]
    replaced = fetch_inputs(stale, lock, client, locked, told)
    found = {}
    for name in wanted:
        fresh = name in stale
        image = _make(name, lock, replaced, told) if fresh else held[name]
        if not loading.present(client, image):
            told.loading(name)
            loading.load(client, [image])
        found[name] = _note(image, client) if fresh else image
        told.done(image, fresh)
    return found


def require_locked(name: str, lock: Lock) -> None:
    """Raises LockError unless the lock has the inputs of this image, and Go sources are the ones that it names."""
    made = recipe.recipe(name)
    if name not in lock.images or (made.base and made.base not in lock.bases):
        raise LockError(f"the lock has no inputs for {name}. Write it anew: conform images lock {name}")
    for source, pinned in zip(made.go, lock.images[name].go, strict=False):
        if golang.source_digest(source) != pinned.files:
            raise LockError(
                f"{source.folder} is not what the lock says: its files changed. Take them from the repository again, "
                f"or lock anew: conform images lock {name}"
            )


def _whole(image: Built) -> bool:
    """Whether the cache still has what the image was made of."""
    return all(Path(path).is_file() for path in (*image.layer_paths, image.config_path))


def inputs(name: str, lock: Lock) -> list[Input]:
    made = recipe.recipe(name)
    found = [*(lock.bases[made.base] if made.base else ()), *lock.images[name].inputs]
    if content.go_sources(made) and golang.needs_toolchain(lock.toolchain):
        found.append(lock.toolchain)
    return found


def fetch_inputs(
    names: Sequence[str], lock: Lock, client: docker.DockerClient, locked: bool, told: Progress
) -> Mapping[Input, Input]:
    """Have all inputs of these images; returns what was taken in the place of packages that are gone."""
    wanted = list(dict.fromkeys(item for name in names for item in inputs(name, lock)))
    missing = [item for item in wanted if not fetching.have(item)]
    total = sum(item.size_bytes for item in missing)
    if names:
        require_room(client, GROWN * sum(item.size_bytes for item in wanted), store.root())
    if not missing:
        return {}
    told.fetching(len(missing), total)
    gone: list[Input] = []
    fetching.fetch_all(missing, told.fetched, gone.append)
    if gone and locked:
        names_gone = ", ".join(f"{item.name} {item.version}" for item in gone)
        raise FetchError(
            f"the mirror does not have {names_gone} any more. Build without --locked, or set another mirror"
        )
    replaced = {}
    for item in gone:
        other = locking.newest(item)
        fetching.fetch(other, told.fetched)
        replaced[item] = other
        told.note(f"{item.name} {item.version} has left the mirror; {other.version} was taken, so not as locked")
    return replaced


def _make(name: str, lock: Lock, replaced: Mapping[Input, Input], told: Progress) -> Built:
    told.building(name)
    made = recipe.recipe(name)
    layers = content.layers(name, lock, replaced)
    version = content.version(name, lock, replaced)
    configuration = imageconfig.config(name, made, version, layers, lock.created)
    image_id = imageconfig.image_id(configuration)
    config_path = store.folder("configs") / f"{image_id.removeprefix('sha256:')}.json"
    config_path.write_bytes(configuration)
    other = [
        f"{old.name} {new.version} for {old.version}" for old, new in replaced.items() if old in inputs(name, lock)
    ]
    inputs_sha256 = content.inputs_digest(name, lock)
    pinned = lock.images[name].pinned(inputs_sha256)
    facts = {key: value for each in layers for key, value in each.facts.items()}
    return Built(
        name=name,
        reference=manifest.reference(name, image_id),
        image_id=image_id,
        version=version,
        title=made.title,
        inputs_sha256=inputs_sha256,
        uid=made.uid,
        as_locked=not other and pinned in (None, image_id),
        replaced=tuple(other),
        size_bytes=sum(each.size_bytes for each in layers),
        diff_ids=tuple(each.diff_id for each in layers),
        layer_paths=tuple(str(each.path) for each in layers),
        config_path=str(config_path),
        components=tuple(dict.fromkeys(part for each in layers for part in each.components)),
        payload_sha256=facts.get("payload_sha256", ""),
        model_sha256=facts.get("model_sha256", ""),
    )


def _note(image: Built, client: docker.DockerClient) -> Built:
    """Write it into the manifest, with the id that the engine knows it by; older ones of its name go."""
    engine_id = str(client.images.get(image.reference).attrs["Id"])
    image = replace(image, image_id=engine_id if ":" in engine_id else f"sha256:{engine_id}")
    for old in manifest.add(image):
        _forget(old, client)
    return image


def _forget(old: Built, client: docker.DockerClient) -> None:
    """Take an image that no checkout asked for lately from the engine, unless a container uses it."""
    from docker.errors import APIError

    try:
        client.images.remove(old.reference, force=False, noprune=False)
    except APIError:
        return
    used = {path for found in manifest.entries().values() for each in found for path in each.layer_paths}
    for path in set(old.layer_paths) - used:
        shutil.rmtree(Path(path).parent, ignore_errors=True)

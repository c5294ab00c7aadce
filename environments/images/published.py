"""Published images, where a registry can be reached: pulled, and taken only if they are the very ones of the lock."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.images import content, loading, lockfile, manifest, recipe, store
from environments.images.building import Progress
from environments.images.errors import ImagesMissing
from environments.images.lockfile import Lock
from environments.images.manifest import BUILD, Built
from environments.images.tree import Component
from environments.images.verifying import Reader

if TYPE_CHECKING:
    import docker


def pull(
    names: Iterable[str], prefix: str, client: docker.DockerClient, *, progress: Progress | None = None
) -> dict[str, Built]:
    """Pull these images (all, if none is named) as `<prefix>/<name>:<first 12 digits of its id>`.

    An image's id is the digest of its configuration, which names the digest of every layer; an image whose id is not
    the locked one is refused. Raises ImagesMissing: no id is locked, the registry has none, or has another.
    """
    told = progress or Progress()
    lock = lockfile.load()
    found = {}
    for name in list(dict.fromkeys(names)) or recipe.names():
        recipe.recipe(name)
        wanted = _locked_id(name, lock)
        have = manifest.current(lock).get(name)
        if have and have.image_id == wanted and loading.present(client, have):
            found[name] = have
            told.done(have, False)
            continue
        told.loading(name)
        found[name] = _pulled(name, prefix.rstrip("/"), wanted, lock, client)
        manifest.add(found[name])
        told.done(found[name], True)
    return found


def _locked_id(name: str, lock: Lock) -> str:
    pinned = lock.images[name].pinned(content.inputs_digest(name, lock)) if name in lock.images else None
    if pinned is None:
        raise ImagesMissing(
            f"the lock has no id for {name} as it is in this checkout, so none can be pulled. {BUILD} {name}"
        )
    return pinned


def _pulled(name: str, prefix: str, wanted: str, lock: Lock, client: docker.DockerClient) -> Built:
    from docker.errors import APIError

    repository, tag = f"{prefix}/{name}", wanted.removeprefix("sha256:")[:12]
    try:
        image = client.images.pull(repository, tag=tag)
    except APIError as error:
        said = str(error.explanation or error)[:200]
        raise ImagesMissing(
            f"{repository}:{tag} cannot be pulled: {said}. Check the prefix, or build: {BUILD} {name}"
        ) from None
    if str(image.id) != wanted:
        client.images.remove(f"{repository}:{tag}")
        raise ImagesMissing(f"{repository}:{tag} is another image: {image.id}, the lock says {wanted}. {BUILD} {name}")
    reference = manifest.reference(name, wanted)
    image.tag(*reference.rsplit(":", 1))
    client.images.remove(f"{repository}:{tag}")
    with store.scratch() as scratch:
        return _kept(name, wanted, reference, lock, client, scratch)


def _kept(name: str, wanted: str, reference: str, lock: Lock, client: docker.DockerClient, scratch: Path) -> Built:
    """Its files from the engine into the cache, as if it were built here: it can then be verified and exported."""
    saved: dict[str, Path] = {}
    with tarfile.open(fileobj=Reader(client.images.get(reference).save()), mode="r|") as tar:  # type: ignore[call-overload]
        for number, member in enumerate(tar):
            file = tar.extractfile(member)
            if file is not None:
                saved[member.name] = scratch / str(number)
                saved[member.name].write_bytes(file.read())
    listed = json.loads(saved["manifest.json"].read_bytes())[0]
    configuration = saved[listed["Config"]].read_bytes()
    if f"sha256:{hashlib.sha256(configuration).hexdigest()}" != wanted:
        raise ImagesMissing(
            f"the engine saved {reference} with another configuration. Look at its log, or {BUILD} {name}"
        )
    diff_ids = tuple(json.loads(configuration)["rootfs"]["diff_ids"])
    layers = [_layer(saved[path], diff_id, reference) for path, diff_id in zip(listed["Layers"], diff_ids, strict=True)]
    config_path = store.folder("configs") / f"{wanted.removeprefix('sha256:')}.json"
    config_path.write_bytes(configuration)
    made = recipe.recipe(name)
    components = _components(layers[-1], name)
    payload = _read(layers[-1], "etc/companyos-release.json")
    return Built(
        name=name,
        reference=reference,
        image_id=wanted,
        version=json.loads(configuration)["config"]["Labels"]["org.opencontainers.image.version"],
        title=made.title,
        inputs_sha256=content.inputs_digest(name, lock),
        uid=made.uid,
        as_locked=True,
        replaced=(),
        size_bytes=sum(path.stat().st_size for path in layers),
        diff_ids=diff_ids,
        layer_paths=tuple(map(str, layers)),
        config_path=str(config_path),
        components=components,
        payload_sha256=json.loads(payload)["payload_sha256"] if payload else "",
        model_sha256=next((each.sha256 for each in components if each.kind == "model"), ""),
    )


def _layer(path: Path, diff_id: str, reference: str) -> Path:
    if f"sha256:{store.sha256_of(path)}" != diff_id:
        raise ImagesMissing(
            f"a layer of {reference} is not what its configuration says. Remove the image and pull again"
        )
    place = store.folder("imported") / f"{diff_id.removeprefix('sha256:')}.tar"
    path.replace(place)
    return place


def _read(layer: Path, path: str) -> bytes:
    with tarfile.open(layer) as tar:
        try:
            file = tar.extractfile(path)
        except KeyError:
            return b""
        return file.read() if file else b""


def _components(layer: Path, name: str) -> tuple[Component, ...]:
    """From the image's SBOM, whose every component says its kind."""
    document: dict[str, Any] = json.loads(_read(layer, f"usr/share/sbom/{name}.cdx.json"))
    return tuple(_component(each) for each in document["components"])


def _component(fields: dict[str, Any]) -> Component:
    hashes: Sequence[dict[str, str]] = fields.get("hashes", [])
    kind: Any = fields["properties"][0]["value"]
    return Component(kind, fields["name"], fields["version"], fields["purl"], hashes[0]["content"] if hashes else "")

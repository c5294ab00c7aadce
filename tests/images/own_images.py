"""An image of the tests' own, small, of one layer or two, that no other checkout or run has to do with."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace
from pathlib import Path

import docker

from environments.images import imageconfig, layer, manifest, recipe
from environments.images.manifest import Built
from environments.images.tree import Component, Tree

OWNER = Component("file", "test", "1", "pkg:generic/test@1")


def made(folder: Path, *contents: bytes, name: str = "pause") -> Built:
    """An image with a file per layer, its files in `folder`; unlike any other, since it holds a random one too."""
    layers = []
    for number, data in enumerate([*contents, secrets.token_bytes(16)]):
        tree = Tree()
        tree.file(f"etc/file-{number}", data, OWNER)
        layers.append(layer.write(tree, folder / f"layer-{number}.tar", "test"))
    configuration = imageconfig.config(name, recipe.recipe(name), "1", layers, "2026-01-01T00:00:00Z")
    image_id = imageconfig.image_id(configuration)
    config_path = folder / f"{image_id.removeprefix('sha256:')}.json"
    config_path.write_bytes(configuration)
    return Built(
        name=name,
        reference=manifest.reference(name, image_id),
        image_id=image_id,
        version="1",
        title="test",
        inputs_sha256=secrets.token_hex(32),
        uid=10000,
        as_locked=False,
        replaced=(),
        size_bytes=sum(each.size_bytes for each in layers),
        diff_ids=tuple(each.diff_id for each in layers),
        layer_paths=tuple(str(each.path) for each in layers),
        config_path=str(config_path),
        components=(OWNER,),
    )


def removed(client: docker.DockerClient, *images: Built) -> None:
    from docker.errors import ImageNotFound

    for image in images:
        with contextlib.suppress(ImageNotFound):
            client.images.remove(image.reference)


def alike(one: Built, other: Built) -> bool:
    """But for where their files are."""
    blank = {"layer_paths": (), "config_path": ""}
    return replace(one, **blank) == replace(other, **blank)  # type: ignore[arg-type]

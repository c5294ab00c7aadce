"""Published images are taken if they are those of the lock: the real engine pulls from a registry of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import own_images
import pytest
from registry import Registry, serving

from environments.images import (
    content,
    imageconfig,
    layer,
    loading,
    lockfile,
    manifest,
    published,
    recipe,
    sbom,
    verifying,
)
from environments.images.errors import ImagesMissing
from environments.images.lockfile import Lock
from environments.images.manifest import Built
from environments.images.tree import Tree


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


@pytest.fixture
def image(cache: Path, tmp_path: Path, engine: docker.DockerClient) -> Iterator[Built]:
    """An image with an SBOM, as every published one has."""
    tree = Tree()
    tree.file("etc/thing", b"thing" * 1000, own_images.OWNER)
    below = layer.write(tree, tmp_path / "below.tar", "test")
    top = Tree()
    top.file(
        "usr/share/sbom/pause.cdx.json",
        sbom.document("pause", "t", Tree(), [below], "2026-01-01T00:00:00Z"),
        own_images.OWNER,
    )
    layers = [below, layer.write(top, tmp_path / "top.tar", "test")]
    configuration = imageconfig.config("pause", recipe.recipe("pause"), "7", layers, "2026-01-01T00:00:00Z")
    image_id = imageconfig.image_id(configuration)
    (tmp_path / "config.json").write_bytes(configuration)
    image = replace(
        own_images.made(tmp_path, b"unused"),
        reference=manifest.reference("pause", image_id),
        image_id=image_id,
        version="7",
        diff_ids=tuple(each.diff_id for each in layers),
        layer_paths=tuple(str(each.path) for each in layers),
        config_path=str(tmp_path / "config.json"),
    )
    yield image
    own_images.removed(engine, image)


@pytest.fixture
def lock(image: Built, monkeypatch: pytest.MonkeyPatch) -> Lock:
    """A lock that names this image."""
    held = lockfile.load()
    inputs = content.inputs_digest("pause", held)
    pinned = held.images["pause"].model_copy(update={"image_id": image.image_id, "inputs_sha256": inputs})
    lock = held.model_copy(update={"images": {**held.images, "pause": pinned}})
    monkeypatch.setattr(lockfile, "load", lambda: lock)
    return lock


def tag(image: Built) -> str:
    return image.image_id.removeprefix("sha256:")[:12]


def test_the_image_of_the_lock_is_pulled_and_is_as_if_built(
    engine: docker.DockerClient, registry: Registry, image: Built, lock: Lock
) -> None:
    registry.publish(image, tag(image))
    found = published.pull(["pause"], registry.address, engine)["pause"]
    assert (found.image_id, found.version, found.diff_ids, found.as_locked) == (
        image.image_id,
        "7",
        image.diff_ids,
        True,
    )
    assert found.components == (own_images.OWNER,)
    assert loading.present(engine, found)
    assert not [each for each in engine.images.get(found.reference).tags if each.startswith(registry.address)]
    (verified,) = verifying.verify(["pause"], engine, deep=True)
    assert verified.ok
    registry.tags.clear()
    assert published.pull(["pause"], registry.address, engine)["pause"] == found  # not asked for again


def test_another_image_is_refused_and_removed(
    engine: docker.DockerClient, registry: Registry, image: Built, lock: Lock
) -> None:
    document = json.loads(Path(image.config_path).read_bytes())
    document["config"]["User"] = "0:0"
    registry.publish(image, tag(image), configuration=json.dumps(document).encode())
    with pytest.raises(ImagesMissing, match=r"is another image: sha256:.*, the lock says .*conform images build pause"):
        published.pull(["pause"], registry.address, engine)
    assert not loading.present(engine, image)
    assert not engine.images.list(filters={"reference": f"{registry.address}/*"})


def test_other_layers_than_the_configuration_names_are_refused(
    engine: docker.DockerClient, registry: Registry, image: Built, lock: Lock
) -> None:
    evil = [Path(image.layer_paths[0]).read_bytes(), Path(image.layer_paths[0]).read_bytes()]
    registry.publish(image, tag(image), layers=evil)
    with pytest.raises(ImagesMissing, match=r"cannot be pulled"):
        published.pull(["pause"], registry.address, engine)
    assert not loading.present(engine, image)


def test_an_image_that_is_not_published_says_so(
    engine: docker.DockerClient, registry: Registry, image: Built, lock: Lock
) -> None:
    with pytest.raises(ImagesMissing, match=r"cannot be pulled: .*manifest unknown.*Check the prefix, or build"):
        published.pull(["pause"], registry.address, engine)


def test_a_registry_that_is_away_says_so(engine: docker.DockerClient, image: Built, lock: Lock) -> None:
    with pytest.raises(ImagesMissing, match=r"127.0.0.1:9/pause:.* cannot be pulled"):
        published.pull(["pause"], "127.0.0.1:9", engine)


def test_an_image_of_other_code_than_the_locked_is_not_pulled(
    engine: docker.DockerClient, registry: Registry, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = lock.images["pause"].model_copy(update={"inputs_sha256": "0" * 64})
    other = lock.model_copy(update={"images": {**lock.images, "pause": changed}})
    monkeypatch.setattr(lockfile, "load", lambda: other)
    with pytest.raises(ImagesMissing, match=r"the lock has no id for pause as it is in this checkout"):
        published.pull(["pause"], registry.address, engine)

"""The engine gets what it does not have, knows an image by its digest, and gives back what it was given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import own_images
import pytest

from environments.images import loading, manifest, store, verifying
from environments.images.manifest import Built


@pytest.fixture
def image(cache: Path, tmp_path: Path, engine: docker.DockerClient) -> Iterator[Built]:
    image = own_images.made(tmp_path, b"one" * 100_000, b"two")
    yield image
    own_images.removed(engine, image)


def test_an_image_is_loaded_under_its_own_digest(engine: docker.DockerClient, image: Built) -> None:
    assert not loading.present(engine, image)
    loading.load(engine, [image])
    assert loading.present(engine, image)
    assert engine.images.get(image.reference).id == image.image_id


def test_only_layers_that_the_engine_lacks_are_sent(engine: docker.DockerClient, image: Built, tmp_path: Path) -> None:
    sent: list[int] = []
    loading.load(engine, [image], sent.append)
    first, sent = sum(sent), []
    (tmp_path / "other").mkdir()
    other = own_images.made(tmp_path / "other", b"one" * 100_000, b"two")  # the same but for its last layer
    try:
        loading.load(engine, [other], sent.append)
        assert first > 300_000
        assert sum(sent) < 50_000
        assert loading.present(engine, other)
    finally:
        own_images.removed(engine, other)


def test_another_image_under_the_name_is_seen(engine: docker.DockerClient, image: Built, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = replace(own_images.made(tmp_path / "other", b"evil"), reference=image.reference)
    loading.load(engine, [other])
    assert not loading.present(engine, image)


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch, image: Built) -> Built:
    monkeypatch.setattr(manifest, "current", lambda: {"pause": image})
    return image


def test_verify_reads_back_what_was_built(engine: docker.DockerClient, current: Built) -> None:
    loading.load(engine, [current])
    (found,) = verifying.verify(["pause"], engine, deep=True)
    assert (found.ok, "read back" in found.detail) == (True, True)


def test_verify_says_what_is_missing_and_what_is_another(
    engine: docker.DockerClient, current: Built, tmp_path: Path
) -> None:
    (found,) = verifying.verify(["pause"], engine)
    assert (found.ok, "the engine does not have" in found.detail) == (False, True)
    (tmp_path / "other").mkdir()
    other = replace(own_images.made(tmp_path / "other", b"evil"), reference=current.reference)
    loading.load(engine, [other])
    (found,) = verifying.verify(["pause"], engine)
    assert not found.ok
    assert f"is another image: {other.image_id}, expected {current.image_id}" in found.detail


def test_verify_digests_layers_itself(
    engine: docker.DockerClient, current: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's word for an image (its id) is not enough: what it gives back is held against what was built."""
    loading.load(engine, [current])
    other = replace(current, diff_ids=(*current.diff_ids[:-1], "sha256:" + "0" * 64))
    monkeypatch.setattr(manifest, "current", lambda: {"pause": other})
    (found,) = verifying.verify(["pause"], engine, deep=True)
    assert not found.ok
    assert "layer 2 is not what was built" in found.detail


def test_the_manifest_keeps_an_entry_per_inputs_and_forgets_none_of_the_day(cache: Path, tmp_path: Path) -> None:
    many = []
    for number in range(manifest.KEPT + 3):
        (tmp_path / str(number)).mkdir()
        many.append(own_images.made(tmp_path / str(number), b"x"))
        assert manifest.add(many[-1]) == []
    assert manifest.entries()["pause"] == many[::-1]
    again = replace(many[0], version="2")
    assert manifest.add(again) == []
    assert manifest.entries()["pause"] == [again, *many[:0:-1]]


def test_old_entries_beyond_the_newest_go(cache: Path, tmp_path: Path) -> None:
    import os

    many = []
    for number in range(manifest.KEPT + 2):
        (tmp_path / str(number)).mkdir()
        image = own_images.made(tmp_path / str(number), b"x")
        os.utime(image.config_path, (0, 0))
        many.append(image)
        gone = manifest.add(image)
        assert gone == ([many[number - manifest.KEPT]] if number >= manifest.KEPT else [])
    assert len(manifest.entries()["pause"]) == manifest.KEPT


def test_a_manifest_that_cannot_be_read_is_as_none(cache: Path, tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"images": {"pause": [{}]}}'):
        (store.root() / "manifest.json").write_text(text)
        assert manifest.entries() == {}
    manifest.add(own_images.made(tmp_path, b"x"))
    assert len(manifest.entries()["pause"]) == 1

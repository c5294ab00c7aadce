"""Images into the engine: a docker-archive, streamed, without the layers that the engine has already."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.images.errors import EngineMissing, ImagesMissing
from environments.images.manifest import BUILD, PREFIX, Built

if TYPE_CHECKING:
    import docker

CHUNK_BYTES = 2**20


def archive(images: Sequence[Built], known: frozenset[str] = frozenset()) -> Iterator[bytes]:
    """The bytes of a docker-archive (`docker load`) of these images; contents of `known` layers are left out."""
    yield from _member("manifest.json", json.dumps([_listed(each) for each in images]).encode())
    written: set[str] = set(known)
    for each in images:
        yield from _member(_config_name(each), Path(each.config_path).read_bytes())
        for diff_id, path in zip(each.diff_ids, each.layer_paths, strict=True):
            if diff_id not in written:
                written.add(diff_id)
                yield from _member(_layer_name(diff_id), Path(path))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _listed(image: Built) -> dict[str, Any]:
    layers = [_layer_name(diff_id) for diff_id in image.diff_ids]
    return {"Config": _config_name(image), "RepoTags": [image.reference], "Layers": layers}


def _config_name(image: Built) -> str:
    return f"{Path(image.config_path).stem}.json"


def _layer_name(diff_id: str) -> str:
    return f"{diff_id.removeprefix('sha256:')}/layer.tar"


def _member(name: str, data: bytes | Path) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = data.stat().st_size if isinstance(data, Path) else len(data)
    yield info.tobuf(tarfile.USTAR_FORMAT)
    with data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    yield bytes(-info.size % tarfile.BLOCKSIZE)


def known_layers(client: docker.DockerClient) -> frozenset[str]:
    """Layers of ours that the engine has: each stands on the same ones below it in every image of ours."""
    found: set[str] = set()
    for image in client.images.list(filters={"reference": f"{PREFIX}/*"}):
        found.update(image.attrs["RootFS"].get("Layers") or [])
    return frozenset(found)


def load(client: docker.DockerClient, images: Sequence[Built], sent: Callable[[int], None] = lambda _: None) -> None:
    """Load them; an engine that wants layers which it has already (Podman, containerd's store) gets them all."""
    from docker.errors import APIError, DockerException

    try:
        _post(client, archive(images, known_layers(client)), sent)
        if all(present(client, each) for each in images):
            return
    except (APIError, EngineMissing):
        pass
    try:
        _post(client, archive(images), sent)
    except DockerException as error:
        raise EngineMissing(f"the engine refused an image: {str(error)[:200]}. Look at its log, then {BUILD}") from None
    for each in images:
        if not present(client, each):
            raise ImagesMissing(f"the engine does not have {each.reference} after loading it. Look at its log")


def _post(client: docker.DockerClient, stream: Iterator[bytes], sent: Callable[[int], None]) -> None:
    def counted() -> Iterator[bytes]:
        for chunk in stream:
            sent(len(chunk))
            yield chunk

    for said in client.api.load_image(counted(), quiet=True) or ():  # type: ignore[no-untyped-call]
        if "error" in said:
            raise EngineMissing(f"the engine refused an image: {said['error']}")


def present(client: docker.DockerClient, image: Built) -> bool:
    """Whether the engine has this very image, under its name."""
    from docker.errors import ImageNotFound

    try:
        found = client.images.get(image.reference)
    except ImageNotFound:
        return False
    return same(found.attrs, image)


def same(attributes: dict[str, Any], image: Built) -> bool:
    """Whether what the engine says of an image is what was built. Its id is the configuration's digest, except in
    containerd's store, where it is the manifest's: there the layers and the label tell."""
    if attributes["Id"] == image.image_id or str(attributes["Id"]) == image.image_id.removeprefix("sha256:"):
        return True
    layers = tuple(attributes.get("RootFS", {}).get("Layers") or ())
    return layers == image.diff_ids and "Descriptor" in attributes

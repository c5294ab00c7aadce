"""Whether the engine's images are the ones that were built, and those the ones that the lock names."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from environments.images import loading, manifest, recipe
from environments.images.errors import EngineMissing
from environments.images.manifest import BUILD, Built

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class Finding:
    """What was found of one image; `detail` ends with the remedy where it is not ok."""

    name: str
    ok: bool
    detail: str
    as_locked: bool = False


def verify(names: Iterable[str], client: docker.DockerClient, *, deep: bool = False) -> list[Finding]:
    """A finding per image (all, if none is named). `deep`: layers are read back from the engine and digested."""
    current, held = manifest.current(), manifest.entries()
    wanted = list(names) or recipe.names()
    for name in wanted:
        recipe.recipe(name)
    return [_verify(name, current.get(name), name in held, client, deep) for name in wanted]


def _verify(name: str, image: Built | None, older: bool, client: docker.DockerClient, deep: bool) -> Finding:
    from docker.errors import ImageNotFound

    if image is None:
        why = "was built from other inputs than there are now" if older else "is not built"
        return Finding(name, False, f"{why}. {BUILD} {name}")
    try:
        attributes = client.images.get(image.reference).attrs
    except ImageNotFound:
        return Finding(name, False, f"the engine does not have {image.reference}. {BUILD} {name}", image.as_locked)
    if not loading.same(attributes, image):
        detail = f"{image.reference} is another image: {attributes['Id']}, expected {image.image_id}"
        return Finding(name, False, f"{detail}. Remove it (docker rmi {image.reference}), then {BUILD} {name}")
    if deep and (wrong := _digested(client, image)):
        return Finding(name, False, f"{image.reference}: {wrong}. Remove it, then {BUILD} {name}", image.as_locked)
    state = "as locked" if image.as_locked else f"not as locked ({'; '.join(image.replaced) or 'another digest'})"
    return Finding(name, True, f"{image.version}  {image.image_id}  {state}{', read back' * deep}", image.as_locked)


def _digested(client: docker.DockerClient, image: Built) -> str:
    """Empty, or what is wrong with the layers that the engine gives back."""
    seen: dict[str, str] = {}
    listed: dict[str, Any] = {}
    with tarfile.open(fileobj=Reader(client.images.get(image.reference).save()), mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            if member.name == "manifest.json":
                listed = json.loads(file.read())[0]
            else:
                seen[member.name] = _sha256(file)
    if not listed:
        raise EngineMissing(f"the engine saved {image.reference} without a manifest. Look at its log")
    found = tuple(f"sha256:{seen.get(name, '')}" for name in listed["Layers"])
    if found == image.diff_ids:
        return ""
    bad = [number for number, (one, other) in enumerate(zip(found, image.diff_ids, strict=False)) if one != other]
    return f"layer {bad[0] if bad else len(found)} is not what was built"


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return digest.hexdigest()


class Reader:
    """A file over the chunks of an answer."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def read(self, size: int) -> bytes:
        parts, wanted = [self._left], size - len(self._left)
        while wanted > 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            wanted -= len(chunk)
        data = b"".join(parts)
        self._left = data[size:]
        return data[:size]

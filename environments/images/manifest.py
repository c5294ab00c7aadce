"""What was built on this machine: `<cache>/images/manifest.json`, an entry per image and inputs.

Several checkouts share one cache, and each asks for the image of its own inputs; so an entry goes by their digest.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from environments.images import content, lockfile, recipe, store
from environments.images.errors import ImagesMissing
from environments.images.lockfile import Lock
from environments.images.tree import Component

PREFIX = "companyos-conform"
KEPT = 8  # entries of each image that stay in any case
KEPT_S = 86_400.0  # and the others for so long: a run in another checkout may yet start containers of them
BUILD = "conform images build"


@dataclass(frozen=True)
class Built:
    """One image as it was built. `reference`: name and tag; `image_id`: what the engine calls it (sha256:...).

    `uid`: whom it runs as (and its group), who must own what is mounted for it to write to. `as_locked`: made of
    exactly what the lock pins; `replaced` says what not. `payload_sha256` (companyos): over the files below
    /opt/companyos. `model_sha256` (llama): of the model file. `components`: what is in it, files aside.
    """

    name: str
    reference: str
    image_id: str
    version: str
    title: str
    inputs_sha256: str
    uid: int
    as_locked: bool
    replaced: tuple[str, ...]
    size_bytes: int
    diff_ids: tuple[str, ...]
    layer_paths: tuple[str, ...]
    config_path: str
    components: tuple[Component, ...]
    payload_sha256: str = ""
    model_sha256: str = ""


def path() -> Path:
    return store.root() / "manifest.json"


def reference(name: str, image_id: str) -> str:
    return f"{PREFIX}/{name}:{image_id.removeprefix('sha256:')[:12]}"


def entries() -> dict[str, list[Built]]:
    """All entries, by image, the newest first. A manifest that cannot be read counts as empty: it is only a cache."""
    try:
        document: dict[str, list[dict[str, Any]]] = json.loads(path().read_bytes())["images"]
        return {name: [entry(each) for each in found] for name, found in document.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def entry(fields: dict[str, Any]) -> Built:
    """From its JSON; keys of another version of this suite are left aside."""
    fields = {each.name: fields[each.name] for each in dataclasses.fields(Built) if each.name in fields}
    fields["components"] = tuple(Component(**each) for each in fields["components"])
    for name in ("replaced", "diff_ids", "layer_paths"):
        fields[name] = tuple(fields[name])
    return Built(**fields)


def add(built: Built) -> list[Built]:
    """Put it in; returns the entries that had to go: neither among the newest nor of the last day."""
    with store.locked("manifest"):
        held = entries()
        others = [each for each in held.get(built.name, []) if each.inputs_sha256 != built.inputs_sha256]
        old = [each for each in others[KEPT - 1 :] if _age_s(each) > KEPT_S]
        held[built.name] = [built, *(each for each in others if each not in old)]
        document = {"format": 1, "images": {name: [asdict(each) for each in found] for name, found in held.items()}}
        store.write_atomically(path(), json.dumps(document, indent=1))
    return old


def _age_s(image: Built) -> float:
    try:
        return time.time() - Path(image.config_path).stat().st_mtime
    except OSError:
        return float("inf")


def current(lock: Lock | None = None) -> dict[str, Built]:
    """The images that were built from this checkout's lock, recipes and code as they are now."""
    lock = lock or lockfile.load()
    held = entries()
    found = {}
    for name in recipe.names():
        if name in lock.images and name in held:
            digest = content.inputs_digest(name, lock)
            for each in held[name]:
                if each.inputs_sha256 == digest:
                    found[name] = each
    return found


def built(*names: str) -> Mapping[str, Built]:
    """The images of these names (all, if none is given), as built here. Raises ImagesMissing: which, and the remedy."""
    wanted = names or tuple(recipe.names())
    found, held = current(), entries()
    for name in wanted:
        recipe.recipe(name)
        if name not in found:
            why = "was built from other inputs than there are now" if name in held else "is not built"
            raise ImagesMissing(f"the image {name} {why}. Build it: {BUILD} {name}")
    return {name: found[name] for name in wanted}
